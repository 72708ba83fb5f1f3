//! Ways to break the protocol on purpose, so that tests can show that they notice. Only with the
//! feature `mutants`: without it, nothing is broken, and nothing is left of them.

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// A follower follows an older leader again.
    NoFencing = 1,
    /// A leader takes for committed what only itself has.
    CommitAlone,
    /// A leader takes for committed what one follower has.
    CommitWithOne,
    /// Who is not in sync takes over.
    UncleanElection,
    /// A follower keeps what its new leader does not have.
    NoTruncation,
    /// A send that comes again is appended again.
    AppendAgain,
    /// A new leader cuts its log off at its own high watermark.
    LeadFromHigh,
}

#[cfg(feature = "mutants")]
static ACTIVE: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Breaks this, in the whole process, or mends everything.
#[cfg(feature = "mutants")]
pub fn set(mutant: Option<Mutant>) {
    let number = mutant.map_or(0, |mutant| mutant as u8);
    ACTIVE.store(number, std::sync::atomic::Ordering::SeqCst);
}

/// Whether this is broken.
#[cfg(feature = "mutants")]
pub(crate) fn is_on(mutant: Mutant) -> bool {
    ACTIVE.load(std::sync::atomic::Ordering::Relaxed) == mutant as u8
}

/// Whether anything is broken: what holds otherwise is for the checker to find then.
#[cfg(feature = "mutants")]
pub(crate) fn is_any_on() -> bool {
    ACTIVE.load(std::sync::atomic::Ordering::Relaxed) != 0
}

/// Whether anything is broken: never.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn is_any_on() -> bool {
    false
}

/// Whether this is broken: never.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn is_on(_mutant: Mutant) -> bool {
    false
}
