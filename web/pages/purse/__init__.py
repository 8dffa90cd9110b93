"""A shopper's purse and its settings. What its pages share stands in `frame`."""
