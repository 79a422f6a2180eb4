//! What one stream wants of one type.

use crate::options::Limits;
use std::collections::BTreeSet;
use xds_wire::ResourceName;

/// A wildcard and explicit names, tracked apart: giving up the one leaves the other.
#[derive(Default, Debug)]
pub(crate) struct Interest {
    /// All resources of the type: an empty first subscription of CDS or LDS, or `*`.
    pub wildcard: bool,
    names: BTreeSet<ResourceName>,
}

impl Interest {
    /// Whether the stream wants the resource of this name.
    pub fn covers(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Whether the name was subscribed to explicitly.
    pub fn has_name(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The explicit names, in order.
    pub fn names(&self) -> &BTreeSet<ResourceName> {
        &self.names
    }

    /// Adds an explicit name; an error if the stream may not hold another one.
    pub fn add(&mut self, name: ResourceName, budget: &mut NameBudget) -> Result<(), TooManyNames> {
        if !self.names.contains(&name) {
            budget.take(name.len())?;
            self.names.insert(name);
        }
        Ok(())
    }

    /// Gives up an explicit name; whether it was there.
    pub fn remove(&mut self, name: &str, budget: &mut NameBudget) -> bool {
        let removed = self.names.remove(name);
        if removed {
            budget.give_back(name.len());
        }
        removed
    }
}

/// The stream subscribes to more than one peer may make us remember.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyNames;

/// What one stream may still subscribe to, over all types.
#[derive(Debug)]
pub(crate) struct NameBudget {
    names: usize,
    bytes: usize,
}

impl NameBudget {
    pub fn new(limits: &Limits) -> Self {
        Self { names: limits.names_per_stream, bytes: limits.name_bytes_per_stream }
    }

    /// Checks what is remembered only until the first answer.
    pub fn allows(&self, names: usize) -> Result<(), TooManyNames> {
        if names > self.names { Err(TooManyNames) } else { Ok(()) }
    }

    fn take(&mut self, length: usize) -> Result<(), TooManyNames> {
        self.names = self.names.checked_sub(1).ok_or(TooManyNames)?;
        self.bytes = self.bytes.checked_sub(length).ok_or(TooManyNames)?;
        Ok(())
    }

    fn give_back(&mut self, length: usize) {
        self.names = self.names.saturating_add(1);
        self.bytes = self.bytes.saturating_add(length);
    }
}
