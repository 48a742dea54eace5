//! Checks on the client's side what a server has agreed to in its answer (RFC 6455 4.1, RFC 7692
//! 5.1 and 7.1).

use super::{
    deflate::Agreement,
    error::AnswerError,
    extension::{self, Extension},
    grammar,
};

/// The only extension that we support.
pub const PERMESSAGE_DEFLATE: &str = "permessage-deflate";

/// The client's offer: permessage-deflate, and the server may choose the client's window.
pub fn offer() -> String {
    extension::format(&[Extension {
        name: PERMESSAGE_DEFLATE.to_owned(),
        parameters: vec![("client_max_window_bits".to_owned(), None)],
    }])
}

/// Whether the Connection header of an answer says `Upgrade`, alone or among others (RFC 6455 4.1
/// item 3).
pub fn upgrades(connection: &str) -> bool {
    grammar::parse_token_list(connection)
        .is_ok_and(|tokens| tokens.iter().any(|token| token.eq_ignore_ascii_case("Upgrade")))
}

/// Checks the Sec-WebSocket-Extensions header of an answer; several headers form one list.
///
/// # Errors
/// The client must fail the connection: the header is malformed, names what was not offered or the
/// same twice, or has parameters that an answer cannot have.
pub fn agreed(header: Option<&str>, offered: bool) -> Result<Option<Agreement>, AnswerError> {
    let Some(header) = header else { return Ok(None) };
    let mut agreement = None;
    for Extension { name, parameters } in
        extension::parse(header).map_err(AnswerError::Malformed)?
    {
        if name != PERMESSAGE_DEFLATE || !offered {
            return Err(AnswerError::NotOffered(name));
        }
        if agreement.is_some() {
            return Err(AnswerError::Repeated(name));
        }
        let parameters = parameters.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        agreement = Some(Agreement::parse(parameters).map_err(AnswerError::Parameters)?);
    }
    Ok(agreement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_extensions_agrees_to_none() {
        assert_eq!(agreed(None, true), Ok(None));
    }

    #[test]
    fn accepts_what_was_offered() {
        let agreement = agreed(Some("permessage-deflate; client_max_window_bits=9"), true);
        let agreement = agreement.expect("valid").expect("agreed");
        assert_eq!(
            agreement.client_max_window_bits.map(super::super::deflate::WindowBits::bits),
            Some(9)
        );
        assert!(!agreement.client_no_context_takeover);
    }

    #[test]
    fn upgrade_may_be_one_of_several_tokens() {
        assert!(upgrades("upgrade"));
        assert!(upgrades("keep-alive, Upgrade"));
        for connection in ["", "close", "upgrades", "keep-alive Upgrade"] {
            assert!(!upgrades(connection), "{connection}");
        }
    }

    #[test]
    fn fails_what_was_not_offered() {
        assert_eq!(
            agreed(Some("permessage-deflate"), false),
            Err(AnswerError::NotOffered("permessage-deflate".into()))
        );
        assert_eq!(
            agreed(Some("permessage-deflate, x-mux"), true),
            Err(AnswerError::NotOffered("x-mux".into()))
        );
    }

    #[test]
    fn fails_an_extension_that_comes_twice() {
        assert_eq!(
            agreed(Some("permessage-deflate, permessage-deflate"), true),
            Err(AnswerError::Repeated("permessage-deflate".into()))
        );
    }

    #[test]
    fn fails_a_header_that_is_none() {
        for header in ["", ",", "permessage-deflate;", "permessage-deflate; client_max_window_bits"]
        {
            assert!(agreed(Some(header), true).is_err(), "{header}");
        }
    }
}
