//! The report of a test for people: the progress while it runs, and the results when it has ended.
//!
//! | part | shows |
//! |---|---|
//! | [`Progress`] | a running test, on stderr |
//! | [`brief`], [`closing_line`], [`exit_code`] | the end of a test, on a terminal |
//! | [`summary`] | all results of a test, for the text of a finding |
//! | [`Report`] | the whole test as one page, `report.html` |
//! | [`write_shiviz`] | the messages as a log for ShiViz |
//!
//! The page is one file without links to other files, so that people can open it from disk and send
//! it around. Its verdict, cause, figures and faults are plain HTML. Its charts, the timeline and
//! the space-time diagram need JavaScript.

mod bands;
mod data;
mod deliveries;
mod figures;
mod graph;
mod page;
mod progress;
mod propagation;
mod shiviz;
mod terminal;

pub use self::page::Report;
pub use self::progress::{Progress, ProgressFile};
pub use self::shiviz::write_shiviz;
pub use self::terminal::{brief, closing_line, exit_code, summary};
pub(crate) use self::terminal::{cause_of_early_end, closing_line_within};
