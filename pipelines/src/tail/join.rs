//! Hash joins. NULL keys match nothing.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use polars::prelude::{Column, DataFrame, IdxCa, IdxSize, IntoColumn as _, NewChunkedArray as _};

use super::{
    JoinKind,
    budget::{Budget, Taken, frame_bytes},
    evaluate::Exprs,
};
use crate::{
    canonical::encode_columns, error::PipelineError, expr::Expr, key::EncodedKeys, registry::Registry, types::Schema,
};

/// Pairs that are gathered, and thinned out by a residual condition, at once.
const PAIRS_AT_ONCE: usize = 1 << 18;
/// Pairs between two looks at the budget, if none is gathered.
const PAIRS_PER_LOOK: usize = 1 << 12;
/// A join with more result rows than this is refused: rows are numbered with 32 bits.
const ROWS_MAX: usize = 1_000_000_000;
/// End of a chain of rows with one key.
const NONE: IdxSize = IdxSize::MAX;

/// A join, compiled.
#[derive(Clone, Debug)]
pub(super) struct Join {
    kind: JoinKind,
    left: Exprs,
    right: Exprs,
    residual: Option<Exprs>,
    schema: Schema,
}

impl Join {
    pub(super) fn compile(
        kind: JoinKind,
        (left, right, schema): (&Schema, &Schema, &Schema),
        on: &[(Expr, Expr)],
        residual: Option<&Expr>,
        registry: &Registry,
    ) -> Result<Join, PipelineError> {
        if residual.is_some() && kind != JoinKind::Inner {
            return Err(PipelineError::Definition(
                "an outer join takes equalities of a left and a right expression only; filter its inputs instead"
                    .into(),
            ));
        }
        Ok(Join {
            kind,
            left: Exprs::compile(on.iter().map(|(left, _)| ("ON", left)), left, registry)?,
            right: Exprs::compile(on.iter().map(|(_, right)| ("ON", right)), right, registry)?,
            residual: residual.map(|r| Exprs::compile([("ON", r)], schema, registry)).transpose()?,
            schema: schema.clone(),
        })
    }

    pub(super) fn execute(
        &self,
        left: &DataFrame,
        right: &DataFrame,
        budget: &Budget<'_>,
    ) -> Result<DataFrame, PipelineError> {
        let _taken = (budget.take_encoded(left)?, budget.take_encoded(right)?);
        let (left_keys, right_keys) = (Keys::new(&self.left, left, budget)?, Keys::new(&self.right, right, budget)?);
        let table = Table::new(&right_keys, right.height());
        let mut pairs = Pairs::new(self, left, right, budget)?;
        let mut right_matched = vec![false; if self.keeps_right() { right.height() } else { 0 }];
        for row in 0..left.height() {
            let mut found = if left_keys.is_null(row) { NONE } else { table.first(left_keys.encoded.get(row)) };
            if found == NONE && self.keeps_left() {
                pairs.push(Some(row as IdxSize), None)?;
            }
            while found != NONE {
                pairs.push(Some(row as IdxSize), Some(found))?;
                if let Some(matched) = right_matched.get_mut(found as usize) {
                    *matched = true;
                }
                found = table.next[found as usize];
            }
        }
        for (row, _) in right_matched.iter().enumerate().filter(|(_, matched)| !**matched) {
            pairs.push(None, Some(row as IdxSize))?;
        }
        pairs.finish()
    }

    fn keeps_left(&self) -> bool {
        matches!(self.kind, JoinKind::Left | JoinKind::Full)
    }

    fn keeps_right(&self) -> bool {
        matches!(self.kind, JoinKind::Right | JoinKind::Full)
    }
}

struct Keys {
    encoded: EncodedKeys,
    columns: Vec<Column>,
    any_null: bool,
}

impl Keys {
    fn new(exprs: &Exprs, frame: &DataFrame, budget: &Budget<'_>) -> Result<Keys, PipelineError> {
        let columns = exprs.columns(frame, budget)?;
        let encoded = encode_columns(&columns, frame.height())?;
        let any_null = columns.iter().any(|c| c.null_count() > 0);
        let columns = columns.iter().map(|c| c.is_null().into_column()).collect();
        Ok(Keys { encoded, columns, any_null })
    }

    fn is_null(&self, row: usize) -> bool {
        self.any_null && self.columns.iter().any(|c| c.bool().is_ok_and(|c| c.get(row) == Some(true)))
    }
}

/// Rows of the right side by key; rows of one key are chained in their order.
struct Table<'a> {
    first: HashMap<&'a [u8], IdxSize, FixedState>,
    next: Vec<IdxSize>,
}

impl<'a> Table<'a> {
    fn new(keys: &'a Keys, height: usize) -> Table<'a> {
        let mut table =
            Table { first: HashMap::with_capacity_and_hasher(height, FixedState::default()), next: vec![NONE; height] };
        for row in (0..height).rev().filter(|row| !keys.is_null(*row)) {
            if let Some(following) = table.first.insert(keys.encoded.get(row), row as IdxSize) {
                table.next[row] = following;
            }
        }
        table
    }

    fn first(&self, key: &[u8]) -> IdxSize {
        self.first.get(key).copied().unwrap_or(NONE)
    }
}

/// Pairs of rows that match, gathered and filtered block by block.
struct Pairs<'a> {
    join: &'a Join,
    left: &'a DataFrame,
    right: &'a DataFrame,
    lefts: Vec<Option<IdxSize>>,
    rights: Vec<Option<IdxSize>>,
    done: Option<DataFrame>,
    budget: &'a Budget<'a>,
    taken: Taken<'a>,
    /// How many pairs are gathered at once: fewer where rows are wide.
    at_once: usize,
}

impl<'a> Pairs<'a> {
    fn new(
        join: &'a Join,
        left: &'a DataFrame,
        right: &'a DataFrame,
        budget: &'a Budget<'a>,
    ) -> Result<Pairs<'a>, PipelineError> {
        // Whatever the widest rows are, a block of average ones takes a small part of the budget.
        let width = |frame: &DataFrame| frame_bytes(frame) / (frame.height().max(1) as u64);
        let fitting = budget.left() / 16 / (width(left) + width(right) + 16);
        let at_once = usize::try_from(fitting).unwrap_or(PAIRS_AT_ONCE).clamp(PAIRS_PER_LOOK, PAIRS_AT_ONCE);
        let taken = budget.take(0)?;
        Ok(Pairs { join, left, right, lefts: Vec::new(), rights: Vec::new(), done: None, budget, taken, at_once })
    }

    fn push(&mut self, left: Option<IdxSize>, right: Option<IdxSize>) -> Result<(), PipelineError> {
        self.lefts.push(left);
        self.rights.push(right);
        if self.lefts.len() == self.at_once {
            self.gather()?;
        }
        if self.lefts.len() + self.done.as_ref().map_or(0, DataFrame::height) > ROWS_MAX {
            return Err(PipelineError::Definition(format!(
                "a join gives more than {ROWS_MAX} rows; add a condition, or aggregate before joining"
            )));
        }
        Ok(())
    }

    fn gather(&mut self) -> Result<(), PipelineError> {
        self.budget.check()?;
        let lefts = IdxCa::from_iter_options("left".into(), self.lefts.drain(..));
        let rights = IdxCa::from_iter_options("right".into(), self.rights.drain(..));
        let height = lefts.len();
        let (left, right) = (self.left.take(&lefts)?, self.right.take(&rights)?);
        let columns = left
            .columns()
            .iter()
            .chain(right.columns())
            .zip(&self.join.schema.fields)
            .map(|(column, field)| column.clone().with_name(field.name.as_str().into()))
            .collect();
        let mut frame = DataFrame::new(height, columns)?;
        let block = self.budget.take(frame_bytes(&frame))?;
        if let Some(residual) = &self.join.residual {
            frame = frame.filter(&residual.condition(&frame, self.budget)?)?;
        }
        drop(block);
        self.taken.grow(frame_bytes(&frame))?;
        match &mut self.done {
            Some(done) => {
                done.vstack_mut_owned(frame)?;
            }
            None => self.done = Some(frame),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<DataFrame, PipelineError> {
        let blocks = self.done.is_some();
        self.gather()?;
        let mut done = self.done.unwrap_or_else(|| self.join.schema.to_empty_frame());
        if blocks {
            done.rechunk_mut();
        }
        Ok(done)
    }
}
