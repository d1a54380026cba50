use countersign_model::documents::Denial;

/// How many denials are listed; a step that goes on after that learns no more than `denied`.
const MAX_DENIALS: usize = 100;

/// The denied calls of a step that could go on after them, each once.
#[derive(Clone, Debug, Default)]
pub struct Denials(Vec<Denial>);

impl Denials {
    pub(crate) fn add(&mut self, denial: Denial) {
        if self.0.len() < MAX_DENIALS && !self.0.contains(&denial) {
            self.0.push(denial);
        }
    }

    /// They, in order.
    #[must_use]
    pub fn list(&self) -> &[Denial] {
        &self.0
    }
}
