"""Le Courrier de la Place: a newspaper whose articles cost twenty cents each, delivered against a voucher.

It redeems as it delivers: the shopper comes back with the voucher, which is checked here, turned in, and the article
is on the screen. What was bought is remembered in the reader's cookie; nobody has an account.
"""

import secrets

from flask import Flask, abort, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from obole_demo.articles import ARTICLES
from obole_demo.shop import COMMON, Untrusted, Wallet, create_site

PRICE = "0.20"
_MOST_ORDERS = 12

_TEXTS = {
    "fr": COMMON["fr"]
    | {
        "name": "Le Courrier de la Place",
        "motto": "Toutes les nouvelles qui tiennent autour de la fontaine",
        "date": "Édition du jour · quinze minutes de lecture · vingt centimes l’article",
        "buy": "Lire la suite pour",
        "why": "Ni abonnement, ni compte, ni publicité : un clic, vingt centimes, l’article est à vous.",
        "yours": "À vous",
        "read": "Lire",
        "more": "Dans la même édition",
        "paid": "Merci. Cet article est à vous.",
    },
    "en": COMMON["en"]
    | {
        "name": "Le Courrier de la Place",
        "motto": "All the news that fits around the fountain",
        "date": "Today’s edition · fifteen minutes of reading · twenty cents an article",
        "buy": "Read on for",
        "why": "No subscription, no account, no advertising: one click, twenty cents, and the article is yours.",
        "yours": "Yours",
        "read": "Read",
        "more": "In the same edition",
        "paid": "Thank you. This article is yours.",
    },
}


def create_newspaper(wallet: Wallet) -> Flask:
    """The newspaper's site."""
    site = create_site("courrier", wallet, _TEXTS)

    @site.get("/<language>/")
    def front() -> ResponseReturnValue:
        return render_template("front.html", articles=ARTICLES, price=PRICE, read=session.get("read", []))

    @site.get("/<language>/articles/<slug>")
    def article(slug: str) -> ResponseReturnValue:
        found = ARTICLES.get(slug) or abort(404)
        others = [each for name, each in ARTICLES.items() if name != slug][:3]
        mine = session.get("read", [])
        return render_template(
            "article.html", article=found, others=others, price=PRICE, read=mine, is_mine=slug in mine
        )

    @site.post("/<language>/articles/<slug>")
    def buy(slug: str) -> ResponseReturnValue:
        found = ARTICLES.get(slug) or abort(404)
        order_id = f"{slug}.{secrets.token_hex(8)}"
        page = wallet.checkout(
            order_id,
            PRICE,
            found.title[g.language],
            mode="on_delivery",
            success_url=wallet.shop + url_for("paid", slug=slug),
            cancel_url=wallet.shop + url_for("article", slug=slug, cancelled=1),
            locale=g.language,
        )
        session["orders"] = [*session.get("orders", []), order_id][-_MOST_ORDERS:]
        return redirect(page, 303)

    @site.get("/<language>/articles/<slug>/paid")
    def paid(slug: str) -> ResponseReturnValue:
        voucher = request.args.get("voucher", "")
        if slug not in session.get("read", []):
            order_id = _first_of(wallet, voucher, slug)
            wallet.redeem(voucher)
            session["orders"] = [each for each in session["orders"] if each != order_id]
            session["read"] = [*session.get("read", []), slug]
        return redirect(url_for("article", slug=slug, paid=1), 303)

    return site


def _first_of(wallet: Wallet, voucher: str, slug: str) -> str:
    """Which of this reader's orders of the article the voucher pays. Raises `Untrusted` when it is none of them."""
    orders: list[str] = session.get("orders", [])
    for order_id in orders:
        if order_id.startswith(f"{slug}."):
            try:
                wallet.verified(voucher, order_id=order_id, amount=PRICE)
            except Untrusted:
                continue
            return order_id
    raise Untrusted("none of this reader's orders")
