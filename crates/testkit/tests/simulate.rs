//! The calls of each case end where they should, by Envoy's rules over what is generated.

use testkit::{
    report::{self, Failures, Verdict},
    simulated,
};

#[test]
fn calls_end_where_they_should() -> Result<(), Failures> {
    report::run(
        "simulate",
        2,
        |case| if case.calls.is_empty() { Ok(Verdict::Nothing) } else { simulated::check(case).map(|()| Verdict::Checked) },
    )
}
