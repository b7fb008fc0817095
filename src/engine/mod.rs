//! The ways to run a guest's code over a [`firmware_less::plan::BootPlan`].

pub mod tcg;
