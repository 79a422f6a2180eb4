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

    /// The same in parcels of at most so many resources, what is removed in the first.
    pub fn portions(mut self, size: usize) -> Vec<Self> {
        let all = std::mem::take(&mut self.carried);
        let mut portions = all.chunks(size.max(1));
        self.carried = portions.next().unwrap_or_default().to_vec();
        let (adds, answers) = (self.adds, self.answers);
        let others = portions.map(|carried| Self { carried: carried.to_vec(), adds, answers, removed: Vec::new() });
        std::iter::once(self).chain(others.collect::<Vec<_>>()).collect()
    }
}
