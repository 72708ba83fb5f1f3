//! Folders that more than one test uses: the data folder of nodes, and the store.

use super::Place;

const ARGS: &str = "-w echo --node-count 1 --rate 20 --time-limit 1";

#[test]
fn a_data_folder_in_use_is_named_first_and_there_is_no_verdict() {
    let place = Place::new();
    // As the nodes of this project end.
    let bin = place.script(
        "#!/bin/sh\nread -r line\n\
         echo 'Error: data/n0/records.redb: in use by another process' >&2\n\
         echo 'Stack backtrace:' >&2\n\
         for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do\n\
         printf '   %s: main\\n        at main.rs\\n' $i >&2\ndone\nexit 1\n",
    );
    let stderr = place.run(&bin, ARGS).crashed();
    let error = stderr.lines().skip_while(|line| !line.starts_with("error: ")).nth(1);
    assert!(error.unwrap().starts_with("Another process uses its data folder."), "{stderr}");
}
