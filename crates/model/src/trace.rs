//! The trace that a run is part of, as W3C Trace Context has it (<https://www.w3.org/TR/trace-context/>).
//!
//! All ids follow from the run: whoever knows the run, an instance and an attempt's number knows the ids of their spans, so
//! that a command is told its own before that span is over, and a run that goes on in another process goes on in its trace.

use std::fmt;
use std::str::FromStr;

use crate::{AttemptId, Domain, InstanceName, RunId, Timestamp};

/// Names a span in its trace; never all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl SpanId {
    /// Returns the 8 bytes.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// Returns what follows from these parts.
    fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Domain::Span.hasher();
        for part in parts {
            hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
        }
        let mut id: [u8; 8] = *hasher.finalize().as_bytes().first_chunk().expect("a digest has 32 bytes");
        // All zeros is no id.
        id[7] |= u8::from(id == [0; 8]);
        Self(id)
    }
}

/// What a caller says of its own span: `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: [u8; 16],
    /// The caller's span.
    pub span: SpanId,
    /// Whether the trace is being recorded.
    pub sampled: bool,
}

impl TraceParent {
    /// The variable in which a process is told of its caller's span.
    pub const VARIABLE: &'static str = "TRACEPARENT";

    /// Makes one of its parts; `None` where an id is all zeros, which names nothing.
    pub fn new(trace: [u8; 16], span: [u8; 8], sampled: bool) -> Option<Self> {
        (trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span: SpanId(span), sampled })
    }
}

/// A text that names no span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not of the form `00-TRACE-SPAN-FLAGS`, in 32, 16 and 2 lower-case hex digits")]
pub struct TraceParentError;

impl FromStr for TraceParent {
    type Err = TraceParentError;

    fn from_str(text: &str) -> Result<Self, TraceParentError> {
        let mut parts = text.trim().split('-');
        let mut next = || parts.next().ok_or(TraceParentError);
        let [version] = bytes(next()?)?;
        let (trace, span, [flags]) = (bytes(next()?)?, bytes(next()?)?, bytes(next()?)?);
        // A later version may have more to say; this much of it stays as it is.
        let is_more = next().is_ok();
        if version == 0xff || (version == 0 && is_more) {
            return Err(TraceParentError);
        }
        Self::new(trace, span, flags & 1 == 1).ok_or(TraceParentError)
    }
}

fn bytes<const N: usize>(text: &str) -> Result<[u8; N], TraceParentError> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Ok(c - b'0'),
        b'a'..=b'f' => Ok(c - b'a' + 10),
        _ => Err(TraceParentError),
    };
    if text.len() != 2 * N {
        return Err(TraceParentError);
    }
    let mut read = [0; N];
    for (byte, pair) in read.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(read)
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hexadecimal = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| {
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        f.write_str("00-")?;
        hexadecimal(f, &self.trace)?;
        f.write_str("-")?;
        hexadecimal(f, self.span.as_bytes())?;
        write!(f, "-{:02x}", u8::from(self.sampled))
    }
}

/// Where a run is in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunTrace {
    run: RunId,
    caller: Option<TraceParent>,
}

impl RunTrace {
    /// A run is in its caller's trace; without one it is a trace of its own, which goes by the run's id.
    pub const fn new(run: RunId, caller: Option<TraceParent>) -> Self {
        Self { run, caller }
    }

    /// Returns the trace's id.
    pub fn trace(&self) -> [u8; 16] {
        self.caller.map_or(*self.run.as_bytes(), |caller| caller.trace)
    }

    /// Returns the caller's span.
    pub fn caller(&self) -> Option<SpanId> {
        self.caller.map(|caller| caller.span)
    }

    /// Returns whether the trace is recorded: a caller may have decided that it is not.
    pub fn is_sampled(&self) -> bool {
        self.caller.is_none_or(|caller| caller.sampled)
    }

    /// Returns the span of a part of the run: a run that is taken up again has several.
    pub fn of_part(&self, began: Timestamp) -> SpanId {
        SpanId::of(&[self.run.as_bytes(), &began.0.to_be_bytes()])
    }

    /// Returns the span of an instance in a part of the run.
    pub fn of_instance(&self, began: Timestamp, instance: &InstanceName) -> SpanId {
        SpanId::of(&[self.run.as_bytes(), &began.0.to_be_bytes(), instance.to_string().as_bytes()])
    }

    /// Returns the span of an attempt.
    pub fn of_attempt(&self, instance: &InstanceName, number: u32) -> SpanId {
        let name = instance.to_string();
        SpanId::of(&[self.run.as_bytes(), b"attempt", name.as_bytes(), &number.to_be_bytes()])
    }

    /// Returns what an attempt's command is told.
    pub fn told(&self, attempt: &AttemptId) -> TraceParent {
        let span = self.of_attempt(&attempt.instance, attempt.number);
        TraceParent { trace: self.trace(), span, sampled: self.is_sampled() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_callers_span_is_read_as_it_is_written() {
        let read: TraceParent = CALLER.parse().unwrap();
        assert_eq!((read.trace[0], read.span.as_bytes()[7], read.sampled), (0x0a, 0x31, true));
        assert_eq!(read.to_string(), CALLER);
        assert!(!CALLER.replace("-01", "-00").parse::<TraceParent>().unwrap().sampled);
        // A later version, which says more.
        let later = format!("{}-what", CALLER.replacen("00-", "01-", 1));
        assert_eq!(later.parse(), Ok(read));
        for wrong in [
            "",
            "00",
            &CALLER.replacen("00-", "ff-", 1),
            &format!("{CALLER}-what"),
            &CALLER.to_uppercase(),
            &CALLER.replace("b7ad6b7169203331", "0000000000000000"),
            &CALLER.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &CALLER.replace("b7ad6b7169203331", "b7ad6b716920333"),
            "00-é-b7ad6b7169203331-01",
        ] {
            assert_eq!(wrong.parse::<TraceParent>(), Err(TraceParentError), "{wrong}");
        }
    }

    #[test]
    fn spans_have_ids_of_their_own_that_follow_from_the_run() {
        let run = RunId::from_bytes([7; 16]);
        let name = |text: &str| InstanceName::new(text.parse().unwrap(), None);
        let trace = RunTrace::new(run, None);
        assert_eq!((trace.trace(), trace.caller(), trace.is_sampled()), ([7; 16], None, true));
        let at = Timestamp;
        let all = [
            trace.of_part(at(1)),
            trace.of_part(at(2)),
            trace.of_instance(at(1), &name("a")),
            trace.of_instance(at(2), &name("a")),
            trace.of_instance(at(1), &name("b")),
            trace.of_attempt(&name("a"), 1),
            trace.of_attempt(&name("a"), 2),
            trace.of_attempt(&name("b"), 1),
        ];
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), all.len());
        let told = trace.told(&AttemptId { run, instance: name("a"), number: 1 });
        assert_eq!(told.span, trace.of_attempt(&name("a"), 1));

        let caller: TraceParent = CALLER.replace("-01", "-00").parse().unwrap();
        let within = RunTrace::new(run, Some(caller));
        assert_eq!(
            (within.trace(), within.caller(), within.is_sampled()),
            (caller.trace, Some(caller.span), false)
        );
        assert!(within.told(&AttemptId { run, instance: name("a"), number: 1 }).to_string().ends_with("-00"));
    }
}
