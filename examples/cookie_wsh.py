"""Reads and sets cookies in the opening handshake: counts the visits of a browser.

`/cookie` counts and `/cookie?forget` starts again. The opening handshake is an ordinary HTTP
request, so this is the moment for cookies: `headers_in` holds what the client sent,
`extra_headers` what the answer will carry. Once the connection is open there are no headers.
"""

import http.cookies
import urllib.parse

COOKIE_NAME = "fastwsh_visits"
ONE_YEAR_SECONDS = 365 * 24 * 60 * 60
MAX_VISITS = 1_000_000  # The client may send any number, of any length.


def web_socket_do_extra_handshake(request):
    visits = read_visits(request.headers_in.get("Cookie", ""))
    if urllib.parse.urlsplit(request.ws_resource).query == "forget":
        set_visits(request, 0, max_age_seconds=0)  # An age of zero deletes the cookie.
        request.visits = 0
    else:
        set_visits(request, visits + 1, max_age_seconds=ONE_YEAR_SECONDS)
        # A request may carry anything you like from the handshake to the function below.
        request.visits = visits + 1


def web_socket_transfer_data(request):
    if request.visits:
        request.ws_stream.send_message(f"Visit number {request.visits}")
    else:
        request.ws_stream.send_message("Forgotten")
    while request.ws_stream.receive_message() is not None:
        pass


def read_visits(header):
    """Return the count in a Cookie header; 0 if there is none, or none that makes sense."""
    try:
        cookies = http.cookies.SimpleCookie(header)
        visits = int(cookies[COOKIE_NAME].value)
    except (http.cookies.CookieError, KeyError, ValueError):
        return 0
    return visits if 0 <= visits <= MAX_VISITS else 0


def set_visits(request, visits, max_age_seconds):
    """Have the browser keep the count.

    The value is a number made here. Never put a client's text into a header as it is: a line break
    in it would let the client write headers of its own.
    """
    cookie = f"{COOKIE_NAME}={visits}; Path=/; Max-Age={max_age_seconds}; HttpOnly; SameSite=Lax"
    request.extra_headers.append(("Set-Cookie", cookie))
