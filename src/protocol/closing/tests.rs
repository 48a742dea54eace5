use proptest::prelude::*;

use super::*;

const OPEN: Closing = Closing { bits: ESTABLISHED };

#[test]
fn the_first_close_frame_is_the_one_that_closed_the_connection() {
    let ours = OPEN.handler_closes(CloseCode(3000)).close_received(Some(CloseCode(3001)));
    assert_eq!(ours.first_close(), Some((CloseCode(3000), Side::Server)));
    assert_eq!(ours.code_sent(), Some(CloseCode(3000)));

    let peers = OPEN.close_received(Some(CloseCode(3001))).handler_closes(CloseCode(3000));
    assert_eq!(peers.first_close(), Some((CloseCode(3001), Side::Client)));
    assert_eq!(peers.code_sent(), Some(CloseCode(3000)));
}

#[test]
fn a_close_frame_with_a_forbidden_code_is_received_but_closes_nothing() {
    let closing = OPEN.close_received(None);
    assert!(closing.is_close_received() && closing.is_end_reported());
    let answered = closing.handler_closes(CloseCode::PROTOCOL_ERROR);
    assert_eq!(answered.first_close(), Some((CloseCode::PROTOCOL_ERROR, Side::Server)));
}

#[test]
fn a_server_that_goes_away_owes_a_close_frame_until_the_handler_closes() {
    let closing = OPEN.go_away(CloseCode::GOING_AWAY);
    assert!(closing.owes_server_close() && !closing.is_end_reported());
    let closing = closing.handler_closes(CloseCode::NORMAL);
    assert!(closing.is_going_away() && !closing.owes_server_close());
    assert_eq!(closing.code_sent(), Some(CloseCode::NORMAL));
    assert_eq!(closing.first_close(), Some((CloseCode::GOING_AWAY, Side::Server)));
}

#[test]
fn going_away_behind_the_handlers_close_frame_or_twice_sends_nothing_more() {
    let closed = OPEN.handler_closes(CloseCode::NORMAL).go_away(CloseCode::GOING_AWAY);
    assert!(closed.is_going_away() && !closed.owes_server_close());
    assert_eq!(closed.code_sent(), Some(CloseCode::NORMAL));
    let twice = OPEN.go_away(CloseCode::GOING_AWAY).go_away(CloseCode::UNEXPECTED);
    assert_eq!(twice.code_sent(), Some(CloseCode::GOING_AWAY));
}

#[test]
fn without_a_close_frame_whoever_ended_the_stream_closed_the_connection() {
    let by = |closing: Closing, is_peer_gone| closing.handler_ended(is_peer_gone).first_close();
    let (peer, server) = ((CloseCode::ABNORMAL, Side::Client), (CloseCode::ABNORMAL, Side::Server));
    assert_eq!(by(OPEN, true), Some(peer));
    assert_eq!(by(OPEN, false), Some(server));
    for ended in [OPEN.cut(), OPEN.reset(), OPEN.sending_ends()] {
        assert_eq!(by(ended, true), Some(server), "{ended:?}");
    }
    let closed = OPEN.close_received(Some(CloseCode::NORMAL));
    assert_eq!(by(closed, true), Some((CloseCode::NORMAL, Side::Client)));
}

#[test]
fn waiting_for_the_peers_close_frame_ends() {
    let waiting = OPEN.handler_closes(CloseCode::NORMAL).await_close(true);
    assert!(waiting.awaits_close());
    assert_eq!(waiting.await_close(false), OPEN.handler_closes(CloseCode::NORMAL));
}

/// A transition, as a handler, a peer and a server may make them in any order.
#[derive(Debug, Clone, Copy)]
enum Transition {
    Answer,
    GoAway(u16),
    HandlerCloses(u16),
    HandlerReopens,
    SendingEnds,
    Received(Option<u16>),
    Told,
    Await(bool),
    Done,
    Cut,
    Reset,
    ReleaseStream,
    HandlerEnded(bool),
}

fn transition() -> impl Strategy<Value = Transition> {
    use Transition::*;
    prop_oneof![
        Just(Answer),
        (1..=u16::MAX).prop_map(GoAway),
        (1..=u16::MAX).prop_map(HandlerCloses),
        Just(HandlerReopens),
        Just(SendingEnds),
        any::<Option<u16>>().prop_map(Received),
        Just(Told),
        any::<bool>().prop_map(Await),
        Just(Done),
        Just(Cut),
        Just(Reset),
        Just(ReleaseStream),
        any::<bool>().prop_map(HandlerEnded),
    ]
}

fn apply(closing: Closing, transition: Transition) -> Closing {
    match transition {
        Transition::Answer => closing.established(),
        Transition::GoAway(code) => closing.go_away(CloseCode(code)),
        Transition::HandlerCloses(code) => closing.handler_closes(CloseCode(code)),
        Transition::HandlerReopens => closing.handler_reopens(),
        Transition::SendingEnds => closing.sending_ends(),
        Transition::Received(code) => closing.close_received(code.map(CloseCode)),
        Transition::Told => closing.end_reported(),
        Transition::Await(awaits) => closing.await_close(awaits),
        Transition::Done => closing.handshake_done(),
        Transition::Cut => closing.cut(),
        Transition::Reset => closing.reset(),
        Transition::ReleaseStream => closing.release_stream(),
        Transition::HandlerEnded(is_peer_gone) => closing.handler_ended(is_peer_gone),
    }
}

/// What the transitions mean, looked up in all that has happened.
fn check(history: &[Transition], closing: Closing) {
    use Transition::*;
    let any = |is: fn(&Transition) -> bool| history.iter().any(is);
    let ended = |t: &Transition| matches!(t, HandlerCloses(_) | SendingEnds | Reset);
    assert_eq!(closing.is_established(), any(|t| matches!(t, Answer)));
    assert_eq!(closing.is_going_away(), any(|t| matches!(t, GoAway(_))));
    assert_eq!(closing.is_sending_ended(), history.iter().any(ended));
    assert_eq!(closing.is_close_received(), any(|t| matches!(t, Received(_))));
    assert_eq!(closing.is_cut(), any(|t| matches!(t, Cut)));
    assert_eq!(closing.is_reset(), any(|t| matches!(t, Reset)));
    assert_eq!(closing.is_released(), any(|t| matches!(t, ReleaseStream)));
    assert_eq!(closing.is_clean(), any(|t| matches!(t, Done)));
    assert_eq!(closing.has_handler_ended(), any(|t| matches!(t, HandlerEnded(_))));
    assert_eq!(
        closing.is_end_reported(),
        any(|t| matches!(t, Told | Received(_))) || history.iter().any(ended)
    );
    let closed = history.iter().rev().find_map(|t| match t {
        HandlerCloses(_) => Some(true),
        HandlerReopens => Some(false),
        _ => None,
    });
    assert_eq!(closing.has_handler_closed(), closed == Some(true));
    let awaits = history.iter().rev().find_map(|t| match t {
        Await(awaits) => Some(*awaits),
        _ => None,
    });
    assert_eq!(closing.awaits_close(), awaits == Some(true));
}

proptest! {
    #[test]
    fn every_order_of_transitions_keeps_what_has_been_said(
        transitions in proptest::collection::vec(transition(), 0..24),
    ) {
        let mut closing = Closing::default();
        for (index, &transition) in transitions.iter().enumerate() {
            let before = closing;
            closing = apply(before, transition);
            check(&transitions[..=index], closing);
            prop_assert_eq!(Closing::from_bits(closing.to_bits()), closing);
            // said once, said for ever
            if before.first_close().is_some() {
                prop_assert_eq!(closing.first_close(), before.first_close());
            }
            let sends = match transition {
                Transition::GoAway(code) if !before.is_sending_ended() && !before.is_going_away() => Some(code),
                Transition::HandlerCloses(code) => Some(code),
                _ => None,
            };
            prop_assert_eq!(closing.code_sent(), sends.map(CloseCode).or(before.code_sent()));
            if closing.code_sent().is_some() {
                prop_assert!(closing.first_close().is_some());
            }
            // the same again changes nothing
            prop_assert_eq!(apply(closing, transition), closing);
        }
    }
}
