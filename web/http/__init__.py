"""What all calls share: who asks, what they sent, what they are told, under which limits."""
