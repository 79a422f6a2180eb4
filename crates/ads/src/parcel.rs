//! The part of a plan that leaves in one response.

use crate::{
    nack::Carried,
    replica::{Item, Plan},
};
use xds_wire::ResourceName;

/// How much of a plan may leave.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it, or all but the removals.
    Everything {
        /// Nothing refers any longer to what is removed.
        removals: bool,
    },
    /// What the client waits for.
    Answers,
}

impl Extent {
    pub fn covers(self, item: &Item) -> bool {
        match self {
            Self::Everything { removals } => removals || !item.is_removal(),
            Self::Answers => item.answer,
        }
    }
}

/// What goes into a response.
#[derive(Default)]
pub(crate) struct Parcel {
    pub carried: Vec<Carried>,
    pub removed: Vec<ResourceName>,
    /// It brings names that the client does not have.
    pub adds: bool,
    /// The client waits for something in it.
    pub answers: bool,
}

impl Parcel {
    /// Takes out of a plan what may leave.
    pub fn new(plan: &Plan, extent: Extent) -> Self {
        let mut parcel = Self::default();
        for item in plan.items.iter().filter(|item| extent.covers(item)) {
            parcel.adds |= item.add;
            parcel.answers |= item.answer;
            match &item.resource {
                Some(resource) => parcel.carried.push(Carried { resource: resource.clone(), fresh: item.fresh }),
                None => parcel.removed.push(item.name.clone()),
            }
        }
        parcel
    }

    /// The same in as many parcels as there are resources, what is removed in the first; one parcel if there are none.
    pub fn one_by_one(mut self) -> Vec<Self> {
        let mut rest = std::mem::take(&mut self.carried).into_iter();
        self.carried.extend(rest.next());
        let (adds, answers) = (self.adds, self.answers);
        let others = rest.map(|resource| Self { carried: vec![resource], adds, answers, removed: Vec::new() });
        let others: Vec<Self> = others.collect();
        std::iter::once(self).chain(others).collect()
    }
}
