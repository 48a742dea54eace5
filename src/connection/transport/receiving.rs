//! Receiving frames and messages: the operations that wait for the peer.

use super::Transport;
use crate::{
    connection::{
        receive_half::{Buffered, ReceiveError, ReceiveHalf, Received},
        transport::half::Half,
        wait::{Park, Wait},
    },
    protocol::{
        close::{self, CloseCode},
        frame::{Frame, Opcode},
        receive::{Event, Rules, WholePayload},
    },
};

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiveGoal {
    /// A message, or a control frame.
    Message,
    /// The peer's answer to our close frame, whichever thread receives it.
    CloseAnswer,
}

/// The result of waiting for an event.
#[derive(Debug)]
pub enum ReadOutcome {
    /// An event.
    Received(Received),
    /// A binary message of this length. It is so long that its payload should be read straight into
    /// its object, see [`Transport::read_direct`].
    Direct(u64),
}

impl Transport {
    /// Waits for the beginning of the next frame, unless a part of it is buffered.
    ///
    /// # Errors
    /// If none can come.
    pub fn wait_input(
        &self,
        rules: Rules,
        goal: ReceiveGoal,
        wait: Wait<'_>,
    ) -> Result<(), ReceiveError> {
        let mut half = self.receiving(rules, goal, wait)?;
        if half.awaits_frame() {
            self.flush_before_wait(wait);
            half.fill(wait)?;
        }
        Ok(())
    }

    /// Takes the next message if it is complete and in one frame, as most are, and passes its
    /// payload to `make`. `make` must not run Python code, because the half is locked.
    ///
    /// # Errors
    /// If the stream has ended.
    pub fn take_whole(
        &self,
        rules: Rules,
        parker: Option<&dyn Park>,
        make: impl FnOnce(Opcode, WholePayload<'_>),
    ) -> Result<Buffered, ReceiveError> {
        let Some(mut half) = self.try_receive_half() else { return Ok(Buffered::Other) };
        let buffered = half.take_whole(rules, parker, make)?;
        if !matches!(buffered, Buffered::Other) {
            self.set_more_buffered(half.has_message());
        }
        Ok(buffered)
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// If the peer has broken a rule, or no event can come.
    pub fn wait_event(
        &self,
        rules: Rules,
        goal: ReceiveGoal,
        wait: Wait<'_>,
    ) -> Result<ReadOutcome, ReceiveError> {
        let mut half = self.receiving(rules, goal, wait)?;
        let mut event = half.poll()?;
        if event.is_none() {
            self.flush_before_wait(wait);
        }
        loop {
            if let (None, Wait::Park(parker)) = (&event, wait) {
                // a message may have fragments without end, so let others run; the reader keeps what
                // it has
                parker.pause().map_err(|error| ReceiveError::Io(1, error))?;
            }
            if let Some(event) = event {
                return Ok(ReadOutcome::Received(self.received(&mut half, event)));
            }
            // not for a caller that repeats its call: it would begin to read the payload again each
            // time
            let waits = !matches!(wait, Wait::Park(parker) if !parker.waits());
            if let Some(length) = half.direct_length().filter(|_| waits) {
                return Ok(ReadOutcome::Direct(length));
            }
            event = match half.fill_payload(wait)? {
                // the bytes after the payload are buffered
                None => half.poll()?,
                event => event,
            };
        }
    }

    fn received(&self, half: &mut ReceiveHalf, event: Event) -> Received {
        self.set_more_buffered(half.has_message());
        if let Event::Close(body) = &event {
            let said = close::parse_body(body).ok();
            self.note_close_received(said.map(|said| said.code.unwrap_or(CloseCode::NO_STATUS)));
        }
        half.complete(event)
    }

    /// Reads the payload that [`ReadOutcome::Direct`] announced. Returns `false` if another caller
    /// has read a part of it in the meantime.
    ///
    /// # Errors
    /// If the rest of the payload cannot come.
    pub fn read_direct(&self, target: &mut [u8], wait: Wait<'_>) -> Result<bool, ReceiveError> {
        let mut half = self.receive_half(wait).map_err(|error| ReceiveError::Io(1, error))?;
        let is_next = half.direct_length() == Some(target.len() as u64);
        if !is_next || !half.read_buffer().bytes().is_empty() {
            return Ok(false);
        }
        let read = half.read_direct(target, wait);
        self.set_more_buffered(false);
        read.map(|()| true)
    }

    /// Waits for the next frame, whatever it is.
    ///
    /// # Errors
    /// As [`Self::wait_event`].
    pub fn wait_frame(&self, rules: Rules, wait: Wait<'_>) -> Result<Frame, ReceiveError> {
        let mut half = self.receiving(rules, ReceiveGoal::Message, wait)?;
        loop {
            if let Some(frame) = half.poll_frame()? {
                return Ok(frame);
            }
            self.flush_before_wait(wait);
            if let Wait::Park(parker) = wait {
                let wanted = half.reader().wanted(&[]);
                parker.pause().map_err(|error| ReceiveError::Io(wanted, error))?;
            }
            half.fill(wait)?;
        }
    }

    /// Locks the receiving half for a caller that accepts what `rules` allow.
    fn receiving(
        &self,
        rules: Rules,
        goal: ReceiveGoal,
        wait: Wait<'_>,
    ) -> Result<Half<'_, ReceiveHalf>, ReceiveError> {
        let mut half = self.receive_half(wait).map_err(|error| ReceiveError::Io(1, error))?;
        if goal == ReceiveGoal::CloseAnswer && self.closing().is_close_received() {
            return Err(ReceiveError::Answered);
        }
        half.reader().set_rules(rules);
        Ok(half)
    }
}
