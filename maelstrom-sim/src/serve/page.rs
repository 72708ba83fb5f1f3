//! The list of runs as a page.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::runs::{Run, State};

const STYLE: &str = include_str!("../report/assets/page.css");
const SCRIPT: &str = include_str!("page.js");

pub(super) fn page(runs: &[Run]) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Runs" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "Runs" }
                    div.tools {
                        input #filter type="search" size="40"
                            placeholder="a workload, a verdict, a cause …" aria-label="Filter";
                        span.span #count {}
                    }
                    div.scroll { table {
                        thead { tr { th { "began, or run" } th { "workload, or sweep" } th { "verdict" } th { "figures" }
                            th { "first cause" } th { "files" } } }
                        tbody #runs { @for run in runs { (row(run)) } }
                    } }
                    @if runs.is_empty() { p { "There is no run in this store yet." } }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn row(run: &Run) -> Markup {
    let (class, word) = match run.state {
        State::Running => ("running", "running"),
        State::Valid => ("valid", "valid"),
        State::Invalid => ("invalid", "not valid"),
        State::Unknown => ("unknown", "unknown"),
        State::Failed => ("unknown", "no verdict"),
    };
    html! {
        tr class=(class) {
            td.number { (run.name) }
            td { (run.workload) }
            td { strong.verdict { (word) } }
            td { (run.figures) }
            td { (run.cause.as_deref().unwrap_or_default()) }
            td {
                @for file in &run.files {
                    a href={ "/store/" (run.folder) "/" (file) } { (file) } " "
                }
            }
        }
    }
}
