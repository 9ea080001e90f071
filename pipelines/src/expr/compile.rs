//! Compiled expressions: planned once, evaluated on column batches.

use std::{collections::BTreeMap, fmt, sync::Arc};

use polars::prelude as pl;
use polars::prelude::NamedFrom;
use polars_arrow::bitmap::Bitmap;

use super::{
    Expr, Function,
    check::check_types,
    deep, fallible,
    kernels::Kernel,
    lanes::{self, Lanes},
    polars::{Native, Planned, is_native, is_native_cast},
};
use crate::{
    error::{Failure, PipelineError},
    registry::Registry,
    types::{DataType, Schema, Value},
};

/// Rows for which an expression failed, and why: sorted by row, at most one failure per row.
pub type Failures = Vec<(u32, Failure)>;

/// An expression's values over a batch.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// One value per row of the batch, of the type [`DataType::to_polars`]; doubles are canonical (no −0.0, one NaN).
    pub column: pl::Column,
    /// Rows that failed; their value is NULL.
    pub failures: Failures,
}

impl Evaluated {
    /// A column without failures.
    pub(crate) fn infallible(column: pl::Column) -> Evaluated {
        Evaluated { column, failures: Failures::new() }
    }
}

/// An expression, compiled for batches that have the columns it names. Cheap to clone.
///
/// A row's value and failure depend on that row alone, never on the batch it stands in.
#[derive(Clone)]
pub struct CompiledExpr {
    pub(super) node: Arc<Node>,
    data_type: DataType,
}

impl fmt::Debug for CompiledExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompiledExpr({})", self.data_type)
    }
}

impl CompiledExpr {
    /// Compiles `expr` over columns of `input`. Fails for what only shows now: an unknown time zone or user function, a regular
    /// expression that does not compile, a cast between types that have none.
    pub fn compile(expr: &Expr, input: &Schema, registry: &Registry) -> Result<CompiledExpr, PipelineError> {
        let node = Compiler { input, registry }.node(expr)?;
        Ok(CompiledExpr { node: Arc::new(node), data_type: expr.data_type() })
    }

    /// The type of its values.
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// Evaluates it for every row. `batch` has the columns that the expression names; others do not matter.
    pub fn evaluate(&self, batch: &pl::DataFrame) -> Result<Evaluated, PipelineError> {
        let height = batch.height();
        let mut evaluated = self.node.evaluate(batch, None)?;
        if evaluated.column.len() != height {
            evaluated.column = evaluated.column.new_from_index(0, height);
        }
        if self.data_type == DataType::Double {
            evaluated.column = lanes::canonical_doubles(evaluated.column)?;
        }
        Ok(evaluated)
    }
}

/// What evaluates one expression, or one region of expressions that polars evaluates together.
pub(crate) enum Node {
    /// A column of the batch.
    Column(pl::PlSmallStr),
    /// A constant: a column of one row.
    Constant(pl::Column),
    /// An expression that polars evaluates over the values of other nodes.
    Native { planned: Planned, inputs: Vec<Node>, double: bool },
    /// One of our kernels: it needs the values of all its arguments.
    Kernel { kernel: Kernel, arguments: Vec<Node> },
    /// `AND` (`until` = false) or `OR` (`until` = true): later arguments count only where no earlier one is `until`.
    Logic { until: bool, arguments: Vec<Node> },
    /// `COALESCE`.
    Coalesce { arguments: Vec<Node>, data_type: DataType },
    /// `CASE`: conditions with their values, and `ELSE`.
    Case { branches: Vec<(Node, Node)>, otherwise: Box<Node>, data_type: DataType },
}

/// The rows that matter; `None` for all. Failures of other rows are not asked for, and user functions are not called for them.
pub(crate) type Active<'a> = Option<&'a Bitmap>;

impl Node {
    /// The values: a column of the batch's height, or of one row for a constant.
    pub(crate) fn evaluate(&self, batch: &pl::DataFrame, active: Active<'_>) -> Result<Evaluated, PipelineError> {
        deep(|| self.evaluate_here(batch, active))
    }

    fn evaluate_here(&self, batch: &pl::DataFrame, active: Active<'_>) -> Result<Evaluated, PipelineError> {
        match self {
            Node::Column(name) => Ok(Evaluated::infallible(batch.column(name)?.clone())),
            Node::Constant(column) => Ok(Evaluated::infallible(column.clone())),
            Node::Native { planned, inputs, double } => {
                let (columns, failures) = evaluate_all(inputs, batch, active)?;
                let mut column = planned.evaluate(columns, batch.height())?;
                if *double {
                    column = lanes::canonical_doubles(column)?;
                }
                settle(column, failures)
            }
            Node::Kernel { kernel, arguments } => {
                let (columns, failures) = evaluate_all(arguments, batch, active)?;
                let evaluated = kernel.evaluate(&columns, batch.height(), active, &failures)?;
                if failures.is_empty() {
                    return Ok(evaluated);
                }
                settle(evaluated.column, merge(failures, evaluated.failures))
            }
            Node::Logic { until, arguments } => super::lazy::logic(*until, arguments, batch, active),
            Node::Coalesce { arguments, data_type } => super::lazy::coalesce(arguments, *data_type, batch, active),
            Node::Case { branches, otherwise, data_type } => {
                super::lazy::case(branches, otherwise, *data_type, batch, active)
            }
        }
    }
}

/// Evaluates arguments from left to right; of a row's failures the leftmost stays.
fn evaluate_all(
    nodes: &[Node],
    batch: &pl::DataFrame,
    active: Active<'_>,
) -> Result<(Vec<pl::Column>, Failures), PipelineError> {
    let mut columns = Vec::with_capacity(nodes.len());
    let mut failures = Failures::new();
    for node in nodes {
        let evaluated = node.evaluate(batch, active)?;
        failures = merge(failures, evaluated.failures);
        columns.push(evaluated.column);
    }
    Ok((columns, failures))
}

/// Both lists in one; where both have a row, the first one's failure stays.
pub(crate) fn merge(first: Failures, second: Failures) -> Failures {
    if second.is_empty() {
        return first;
    }
    if first.is_empty() {
        return second;
    }
    let all: BTreeMap<u32, Failure> = second.into_iter().chain(first).collect();
    all.into_iter().collect()
}

/// Sets the rows that failed to NULL.
pub(crate) fn settle(column: pl::Column, failures: Failures) -> Result<Evaluated, PipelineError> {
    if failures.is_empty() {
        return Ok(Evaluated::infallible(column));
    }
    let mut keep = vec![true; column.len()];
    for (row, _) in &failures {
        keep[*row as usize] = false;
    }
    let keep = pl::BooleanChunked::new(pl::PlSmallStr::EMPTY, &keep);
    let null = pl::Column::full_null(column.name().clone(), 1, column.dtype());
    Ok(Evaluated { column: column.zip_with(&keep, &null)?, failures })
}

struct Compiler<'a> {
    input: &'a Schema,
    registry: &'a Registry,
}

/// The inputs of a region that polars evaluates.
#[derive(Default)]
struct Region {
    nodes: Vec<Node>,
    types: Vec<DataType>,
    columns: BTreeMap<usize, usize>,
}

impl Region {
    fn add(&mut self, node: Node, data_type: DataType) -> usize {
        self.nodes.push(node);
        self.types.push(data_type);
        self.nodes.len() - 1
    }
}

impl Compiler<'_> {
    /// Compiles one expression and everything below it.
    fn node(&self, expr: &Expr) -> Result<Node, PipelineError> {
        deep(|| self.node_here(expr))
    }

    fn node_here(&self, expr: &Expr) -> Result<Node, PipelineError> {
        check_types(expr)?;
        match expr {
            Expr::Column { index, .. } => Ok(Node::Column(self.column_name(*index)?)),
            Expr::Literal { value, data_type } => Ok(Node::Constant(lanes::constant(value, *data_type)?)),
            _ if self.is_native(expr) => self.region(expr),
            Expr::Call { function, args, data_type } => match function {
                Function::And | Function::Or => {
                    let arguments = self.nodes(expr.chain(function))?;
                    Ok(Node::Logic { until: *function == Function::Or, arguments })
                }
                Function::Coalesce => Ok(Node::Coalesce { arguments: self.nodes(args)?, data_type: *data_type }),
                _ => {
                    let types: Vec<DataType> = args.iter().map(Expr::data_type).collect();
                    let arguments = self.nodes(args)?;
                    let kernel = Kernel::function(function, &types, *data_type)?;
                    fold(Node::Kernel { kernel, arguments })
                }
            },
            Expr::Cast { input, to, safe } => {
                let from = input.data_type();
                if from == *to || matches!((from, *to), (DataType::Json, DataType::Text)) {
                    return self.node(input);
                }
                let kernel = Kernel::cast(from, *to, *safe)?;
                fold(Node::Kernel { kernel, arguments: vec![self.node(input)?] })
            }
            Expr::User { name, version, args, data_type } => {
                let types: Vec<DataType> = args.iter().map(Expr::data_type).collect();
                let kernel = Kernel::user(name, *version, &types, *data_type, self.registry)?;
                Ok(Node::Kernel { kernel, arguments: self.nodes(args)? })
            }
            Expr::Case { branches, otherwise, data_type } => {
                let branches = branches
                    .iter()
                    .map(|(condition, value)| Ok((self.node(condition)?, self.node(value)?)))
                    .collect::<Result<_, PipelineError>>()?;
                let otherwise = Box::new(match otherwise {
                    Some(value) => self.node(value)?,
                    None => Node::Constant(lanes::constant(&Value::Null, *data_type)?),
                });
                Ok(Node::Case { branches, otherwise, data_type: *data_type })
            }
        }
    }

    fn nodes<'a>(&self, exprs: impl IntoIterator<Item = &'a Expr>) -> Result<Vec<Node>, PipelineError> {
        exprs.into_iter().map(|e| self.node(e)).collect()
    }

    fn column_name(&self, index: usize) -> Result<pl::PlSmallStr, PipelineError> {
        let field = self.input.fields.get(index);
        field
            .map(|f| f.name.as_str().into())
            .ok_or_else(|| PipelineError::Definition(format!("column number {index} is not in the input")))
    }

    /// Whether polars can evaluate the top of `expr`; what lies below may be ours.
    fn is_native(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Call { function, args, .. } => {
                let types: Vec<DataType> = args.iter().map(Expr::data_type).collect();
                let lazy = match function {
                    Function::And | Function::Or => expr.chain(function),
                    Function::Coalesce => args.iter().collect(),
                    _ => Vec::new(),
                };
                is_native(function, &types) && !lazy.into_iter().skip(1).any(fallible)
            }
            Expr::Cast { input, to, .. } => is_native_cast(input.data_type(), *to),
            Expr::Case { branches, otherwise, .. } => {
                let mut parts = branches.iter().flat_map(|(c, v)| [c, v]).chain(otherwise.as_deref());
                // The first condition is always evaluated.
                parts.next().is_some() && !parts.any(fallible)
            }
            _ => false,
        }
    }

    /// Compiles the largest region from `expr` down that polars can evaluate.
    fn region(&self, expr: &Expr) -> Result<Node, PipelineError> {
        let mut region = Region::default();
        let native = self.native(expr, &mut region)?;
        let planned = Planned::plan(native, &region.types)?;
        let double = expr.data_type() == DataType::Double;
        fold(Node::Native { planned, inputs: region.nodes, double })
    }

    /// Compiles an expression that a region takes as an input.
    fn separate(&self, expr: &Expr, region: &mut Region) -> Result<Native, PipelineError> {
        match expr {
            Expr::Column { .. } | Expr::Literal { .. } => self.native(expr, region),
            _ => match self.node(expr)? {
                Node::Constant(column) => Native::constant_column(&column),
                node => Ok(Native::input(region.add(node, expr.data_type()))),
            },
        }
    }

    fn native(&self, expr: &Expr, region: &mut Region) -> Result<Native, PipelineError> {
        deep(|| self.native_here(expr, region))
    }

    fn native_here(&self, expr: &Expr, region: &mut Region) -> Result<Native, PipelineError> {
        check_types(expr)?;
        match expr {
            Expr::Column { index, data_type } => {
                let input = match region.columns.get(index) {
                    Some(input) => *input,
                    None => {
                        let input = region.add(Node::Column(self.column_name(*index)?), *data_type);
                        region.columns.insert(*index, input);
                        input
                    }
                };
                Ok(Native::input(input))
            }
            Expr::Literal { value, data_type } => Native::constant(value, *data_type),
            _ if !self.is_native(expr) => self.separate(expr, region),
            Expr::Call { function, args, data_type } => {
                let args = match function {
                    Function::And | Function::Or => expr.chain(function),
                    _ => args.iter().collect(),
                };
                let last = args.len().saturating_sub(1);
                let native = |(index, arg): (usize, &Expr)| {
                    // What is named several times is evaluated once, by itself.
                    let repeated = match function {
                        Function::Coalesce => index < last,
                        Function::NullIf | Function::In => index == 0,
                        _ => false,
                    };
                    if repeated { self.separate(arg, region) } else { self.native(arg, region) }
                };
                let args = args.into_iter().enumerate().map(native).collect::<Result<_, _>>()?;
                Native::call(function, args, *data_type)
            }
            Expr::Cast { input, to, .. } => Ok(self.native(input, region)?.cast(*to)),
            Expr::Case { branches, otherwise, data_type } => {
                let branches = branches
                    .iter()
                    .map(|(c, v)| Ok((self.native(c, region)?, self.native(v, region)?)))
                    .collect::<Result<_, PipelineError>>()?;
                let otherwise = match otherwise {
                    Some(value) => self.native(value, region)?,
                    None => Native::constant(&Value::Null, *data_type)?,
                };
                Ok(Native::case(branches, otherwise))
            }
            Expr::User { .. } => Err(PipelineError::Definition("a user function is not planned by polars".to_owned())),
        }
    }
}

/// Evaluates a node over constants once, unless it fails: then it fails for every row, when evaluated.
fn fold(node: Node) -> Result<Node, PipelineError> {
    let inputs = match &node {
        Node::Native { inputs, .. } => inputs,
        Node::Kernel { arguments, .. } => arguments,
        _ => return Ok(node),
    };
    if !inputs.iter().all(|n| matches!(n, Node::Constant(_))) {
        return Ok(node);
    }
    let one = pl::DataFrame::empty_with_height(1);
    let evaluated = node.evaluate(&one, None)?;
    Ok(if evaluated.failures.is_empty() { Node::Constant(evaluated.column) } else { node })
}

/// A Boolean column's values, NULL as `None`.
pub(crate) fn booleans(column: &pl::Column) -> Result<Lanes<bool>, PipelineError> {
    Lanes::new(column)
}
