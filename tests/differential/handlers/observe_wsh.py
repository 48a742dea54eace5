"""Notes what a handler sees of its connection's end, for another connection to ask.

`?as=ID` echoes and notes under ID, `?of=ID` waits for the end of that and tells.
"""

import threading

notes = {}
finished = threading.Condition()


def web_socket_do_extra_handshake(request):
    pass


def echo(request, note):
    while True:
        message = request.ws_stream.receive_message()
        note.append(f"received {message!r}")
        if message is None:
            return
        request.ws_stream.send_message(message)
        if message == "bye":
            return


def web_socket_transfer_data(request):
    how, _, name = request.ws_resource.partition("?")[2].partition("=")
    if how == "of":
        with finished:
            finished.wait_for(lambda: name in notes, 10)
        request.ws_stream.send_message("; ".join(notes.get(name, ["nothing"])))
        return
    note = []
    try:
        echo(request, note)
    except Exception as error:
        note.append("raised " + type(error).__name__)
        raise
    finally:
        note.append(f"client_terminated={request.client_terminated}")
        with finished:
            notes[name] = note
            finished.notify_all()
