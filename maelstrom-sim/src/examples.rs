//! The examples, one page each: the problem, the naive answer, the idea, the life of a request in
//! the code, and exercises.
//!
//! `make examples` runs each node under the checker, with real processes. `cargo test --examples`
//! sweeps the nodes in virtual time. The tests of `own-workload` sweep the last one.
//!
//! | example | workload | shows |
//! |---|---|---|
//! | [`lin_kv_proxy`] | `lin-kv` | calls to services, timeouts, which error to answer with |
//! | [`g_set`] | `g-set` | gossip, records on disk, snapshots |
//! | [`pn_counter`] | `pn-counter` | totals instead of changes |
//! | [`raft`] | `lin-kv` | consensus: elections, log, persistence |
//! | [`list_append`] | `txn-list-append` | transactions by compare-and-set, steps as one `async` block |
//! | [`own_workload`] | its own | a workload, a checker and a binary of one's own |

// A page ends with the files that its labels mean in the repository. The first definition of a
// label counts, so here the labels mean items.

#[doc = include_str!("../examples/g_set.md")]
pub mod g_set {}
#[doc = include_str!("../examples/lin_kv_proxy.md")]
pub mod lin_kv_proxy {}
#[doc = include_str!("../examples/list_append.md")]
pub mod list_append {}
/// [workload]: crate::workload::Workload
/// [checker]: crate::checker
/// [linearizable]: crate::checker::linearizable
/// [txn]: crate::checker::txn
#[doc = include_str!("../examples/own_workload.md")]
pub mod own_workload {}
#[doc = include_str!("../examples/pn_counter.md")]
pub mod pn_counter {}
/// [proxy]: crate::examples::lin_kv_proxy
#[doc = include_str!("../examples/raft.md")]
pub mod raft {}
