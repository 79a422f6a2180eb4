//! The calls of each case end where they should, by Envoy's rules over what is generated.

use testkit::{
    report::{self, Verdict},
    simulated,
};

#[test]
fn calls_end_where_they_should() -> anyhow::Result<()> {
    report::run(2, |case| simulated::check(case).map(|()| Verdict::Checked))
}
