//! What is generated for each case is what its folder `expected/` keeps. `make bless` writes these anew.

use testkit::{
    golden,
    report::{self, Failures, Verdict},
};

#[test]
fn generated_configuration_is_as_kept() -> Result<(), Failures> {
    let bless = std::env::var_os("BLESS").is_some();
    report::run("golden", 2, |case| golden::check(case, bless).map(|()| Verdict::Checked))
}
