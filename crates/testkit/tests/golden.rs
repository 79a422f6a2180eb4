//! What is generated for each case is what its folder `expected/` keeps. `make bless` writes these anew.

use testkit::{
    golden,
    report::{self, Verdict},
};

#[test]
fn generated_configuration_is_as_kept() -> anyhow::Result<()> {
    let bless = std::env::var_os("BLESS").is_some();
    report::run(2, |case| golden::check(case, bless).map(|()| Verdict::Checked))
}
