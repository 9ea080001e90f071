//! Random typed expressions over some columns.

use rand::{Rng, rngs::StdRng};
use watershed::DataType;

use super::{
    functions::Function,
    language::{Expr, Fails},
    types::{any_decimal, any_type, cast, chance, coerced, common, decimal, numeric_type, ordered_type, pick, theirs},
    values::{literal, null},
};

/// The casts between different types; decimals stand for any.
pub const CASTS: &[(DataType, DataType)] = {
    use DataType::{BigInt, Boolean, Date, Double, Int, Json, Text, Timestamp};
    const DECIMAL: DataType = decimal(5, 2);
    &[
        (Int, BigInt),
        (Int, Double),
        (Int, DECIMAL),
        (Int, Text),
        (BigInt, Int),
        (BigInt, Double),
        (BigInt, DECIMAL),
        (BigInt, Text),
        (Double, Int),
        (Double, BigInt),
        (Double, DECIMAL),
        (Double, Text),
        (DECIMAL, Int),
        (DECIMAL, BigInt),
        (DECIMAL, Double),
        (DECIMAL, Text),
        (Text, Int),
        (Text, BigInt),
        (Text, Double),
        (Text, DECIMAL),
        (Text, Boolean),
        (Text, Timestamp),
        (Text, Date),
        (Text, Json),
        (Boolean, Int),
        (Boolean, BigInt),
        (Boolean, Text),
        (Json, Text),
        (Timestamp, Date),
        (Timestamp, Text),
        (Date, Timestamp),
        (Date, Text),
    ]
};

/// Draws expressions.
pub struct Expressions<'a> {
    /// The seed's.
    pub rng: &'a mut StdRng,
    /// What can be named.
    pub columns: &'a [Expr],
    /// The functions of the language.
    pub functions: &'a [Function],
    /// Whether an expression may fail for some row.
    pub may_fail: bool,
}

impl Expressions<'_> {
    /// An expression of this type; NULL may be written where it stands.
    fn or_null(&mut self, to: DataType, depth: u32) -> Expr {
        if chance(self.rng, 4) { null(to) } else { self.of(to, depth) }
    }

    /// An expression of this type that is not just NULL.
    pub fn of(&mut self, to: DataType, depth: u32) -> Expr {
        if depth == 0 || chance(self.rng, 12) {
            return self.leaf(to);
        }
        let below = depth - 1;
        match self.rng.random_range(0..14) {
            0 => return self.case(to, below),
            1 => return self.first_of(to, below),
            2 if to != DataType::Json => return self.chosen_of(to, below),
            3 | 4 => {
                if let Some(cast) = self.cast(to, below) {
                    return cast;
                }
            }
            5..8 => {
                if let Some(call) = self.call(to, below) {
                    return call;
                }
            }
            _ => {}
        }
        match to {
            DataType::Boolean => self.condition(below),
            DataType::Int | DataType::BigInt | DataType::Double | DataType::Decimal { .. } => self.number_of(to, below),
            DataType::Text | DataType::Timestamp => self.call(to, below).unwrap_or_else(|| self.leaf(to)),
            DataType::Date | DataType::Json => self.leaf(to),
        }
    }

    /// A column, or a constant.
    fn leaf(&mut self, to: DataType) -> Expr {
        let fitting: Vec<&Expr> = self.columns.iter().filter(|column| column.data_type == to).collect();
        if fitting.is_empty() || chance(self.rng, 15) {
            return literal(self.rng, to);
        }
        (*pick(self.rng, &fitting)).clone()
    }

    fn case(&mut self, to: DataType, below: u32) -> Expr {
        match self.rng.random_range(0..4) {
            0 => {
                let args = vec![self.of(DataType::Boolean, below), self.or_null(to, below), self.or_null(to, below)];
                let theirs = "CASE WHEN «0» THEN «1» ELSE «2» END";
                Expr::new(to, "IF", "IF(«0», «1», «2»)", theirs, Fails::Case, args)
            }
            1 => {
                let operand = ordered_type(self.rng);
                let args = vec![
                    self.of(operand, below),
                    self.of(operand, below),
                    self.or_null(to, below),
                    self.or_null(to, below),
                ];
                let template = "CASE «0» WHEN «1» THEN «2» ELSE «3» END";
                Expr::new(to, "CASE x WHEN", template, template, Fails::SimpleCase, args)
            }
            _ => {
                let mut template = "CASE".to_owned();
                let mut args = Vec::new();
                for branch in 0..self.rng.random_range(1..3) {
                    args.extend([self.of(DataType::Boolean, below), self.of(to, below)]);
                    template += &format!(" WHEN «{}» THEN «{}»", 2 * branch, 2 * branch + 1);
                }
                if self.rng.random() {
                    template += &format!(" ELSE «{}»", args.len());
                    args.push(self.or_null(to, below));
                } else {
                    args.push(null(to));
                }
                template += " END";
                Expr::new(to, "CASE", &template, &template, Fails::Case, args)
            }
        }
    }

    /// `COALESCE` and its like.
    fn first_of(&mut self, to: DataType, below: u32) -> Expr {
        if to != DataType::Json && chance(self.rng, 30) {
            let args = vec![self.of(to, below), self.of(to, below)];
            return Expr::same(to, "NULLIF", "NULLIF(«0», «1»)", args);
        }
        if chance(self.rng, 30) {
            let args = vec![self.of(to, below), self.or_null(to, below)];
            return Expr::new(to, "COALESCE", "IFNULL(«0», «1»)", "COALESCE(«0», «1»)", Fails::Coalesce, args);
        }
        let args: Vec<Expr> = (0..self.rng.random_range(1..4)).map(|_| self.or_null(to, below)).collect();
        let template = format!("COALESCE({})", places(args.len()));
        Expr::new(to, "COALESCE", &template, &template, Fails::Coalesce, args)
    }

    fn chosen_of(&mut self, to: DataType, below: u32) -> Expr {
        let name = *pick(self.rng, &["GREATEST", "LEAST"]);
        let args: Vec<Expr> = (0..self.rng.random_range(1..4)).map(|_| self.of(to, below)).collect();
        Expr::same(to, name, &format!("{name}({})", places(args.len())), args)
    }

    fn cast(&mut self, to: DataType, below: u32) -> Option<Expr> {
        let from = if chance(self.rng, 25) { DataType::Text } else { any_type(self.rng) };
        let input = self.of(from, below);
        let safe = !self.may_fail || chance(self.rng, 35);
        // A quoted constant is read when the definition is planned.
        if input.what == "literal" && from == DataType::Text && !safe {
            return None;
        }
        cast(input, to, safe)
    }

    /// A call of one of the functions with fixed types.
    fn call(&mut self, to: DataType, below: u32) -> Option<Expr> {
        let may_fail = self.may_fail;
        let fitting = self.functions.iter().filter(|f| f.result == to && (may_fail || f.fails == Fails::Never));
        // First which function, then which of its forms: those with many forms are not more frequent.
        let mut names: Vec<&str> = fitting.map(|f| f.what.as_str()).collect();
        names.dedup();
        if names.is_empty() {
            return None;
        }
        let name = pick(self.rng, &names).to_string();
        Some(self.call_of(&name, below))
    }

    /// A call of one of the forms of a function.
    fn call_of(&mut self, name: &str, below: u32) -> Expr {
        let (functions, may_fail) = (self.functions, self.may_fail);
        let forms: Vec<&Function> =
            functions.iter().filter(|f| f.what == name && (may_fail || f.fails == Fails::Never)).collect();
        let form = *pick(self.rng, &forms);
        // These take any number as it is.
        let widens = !["FLOOR", "CEIL", "ROUND", "SIGN", "TO_TIMESTAMP"].contains(&name);
        let mut args: Vec<Expr> = form.args.iter().map(|data_type| self.argument(*data_type, below, widens)).collect();
        // A cast of NULL is a constant NULL, and a comparison with that is a mistake to the planner.
        if name == "DATE" && args[0].what == "NULL" {
            args[0] = self.leaf(DataType::Timestamp);
        }
        Expr::new(form.result, &form.what, &form.ours, &form.theirs, form.fails, args)
    }

    /// The `number`th of all functions and casts, so that all have their turn.
    pub fn in_turn(&mut self, number: usize) -> Expr {
        let mut names: Vec<&str> = self.functions.iter().map(|f| f.what.as_str()).collect();
        names.dedup();
        let number = number % (names.len() + CASTS.len());
        if let Some(name) = names.get(number) {
            let name = name.to_string();
            return self.call_of(&name, 2);
        }
        let (from, to) = CASTS[number - names.len()];
        let mut of = |t: DataType| if let DataType::Decimal { .. } = t { any_decimal(self.rng) } else { t };
        let (from, to) = (of(from), of(to));
        let input = loop {
            let input = self.of(from, 2);
            if input.what != "literal" {
                break input;
            }
        };
        cast(input, to, false).expect("it is in the list")
    }

    /// An argument, sometimes of a narrower type that widens by itself.
    fn argument(&mut self, to: DataType, below: u32, widens: bool) -> Expr {
        if !widens || chance(self.rng, 80) {
            return self.or_null(to, below);
        }
        let from = match to {
            DataType::BigInt => DataType::Int,
            DataType::Double if self.may_fail => numeric_type(self.rng),
            DataType::Timestamp => DataType::Date,
            _ => to,
        };
        let narrow = self.of(from, below);
        // A date constant is read as a timestamp; that is the same.
        coerced(narrow, to)
    }

    /// A number of some type.
    pub fn number(&mut self, depth: u32) -> Expr {
        if depth == 0 {
            return self.leaf_number();
        }
        if !self.may_fail {
            return self.number_of(DataType::Double, depth - 1);
        }
        let below = depth - 1;
        match self.rng.random_range(0..8) {
            0 => self.leaf_number(),
            1 => {
                let number = self.number(below);
                sign_or_rounding(self.rng, number)
            }
            _ => {
                let (left, right) = (self.number(below), self.number(below));
                let operator = *pick(self.rng, &["+", "-", "*", "/", "%"]);
                arithmetic(operator, left.clone(), right).unwrap_or(left)
            }
        }
    }

    fn leaf_number(&mut self) -> Expr {
        let to = numeric_type(self.rng);
        self.leaf(to)
    }

    /// A number of this type.
    fn number_of(&mut self, to: DataType, below: u32) -> Expr {
        if !self.may_fail {
            if to != DataType::Double {
                return self.leaf(to);
            }
            let (left, right) = (self.of(to, below), self.of(to, below));
            let operator = *pick(self.rng, &["+", "-", "*"]);
            return arithmetic(operator, left, right).expect("doubles");
        }
        let number = match self.rng.random_range(0..3) {
            // Of the same type on both sides.
            0 => {
                let (left, right) = (self.of(to, below), self.of(to, below));
                let operator = *pick(self.rng, &["+", "-", "%", "*", "/"]);
                arithmetic(operator, left.clone(), right).unwrap_or(left)
            }
            1 => {
                let number = self.of(to, below);
                sign_or_rounding(self.rng, number)
            }
            _ => self.number(below),
        };
        if number.data_type == to { number } else { cast(number, to, false).expect("numbers are cast to numbers") }
    }

    /// Two expressions that can be compared.
    fn sides(&mut self, below: u32) -> (Expr, Expr) {
        if self.may_fail && chance(self.rng, 25) {
            let (left, right) = (self.number(below), self.number(below));
            let to = common(left.data_type, right.data_type);
            return (coerced(left, to), coerced(right, to));
        }
        let data_type = ordered_type(self.rng);
        if data_type == DataType::Timestamp && chance(self.rng, 30) {
            return (self.of(data_type, below), coerced(self.of(DataType::Date, below), data_type));
        }
        (self.of(data_type, below), self.of(data_type, below))
    }

    /// A condition.
    pub fn condition(&mut self, depth: u32) -> Expr {
        let to = DataType::Boolean;
        if depth == 0 {
            let (left, right) = self.sides(0);
            return comparison(self.rng, left, right);
        }
        let below = depth - 1;
        match self.rng.random_range(0..9) {
            0 => {
                let args = vec![self.of(to, below), self.of(to, below)];
                Expr::new(to, "AND", "(«0» AND «1»)", "(«0» AND «1»)", Fails::And, args)
            }
            1 => {
                let args = vec![self.of(to, below), self.of(to, below)];
                Expr::new(to, "OR", "(«0» OR «1»)", "(«0» OR «1»)", Fails::Or, args)
            }
            2 => Expr::same(to, "NOT", "(NOT «0»)", vec![self.of(to, below)]),
            3 => {
                let of = any_type(self.rng);
                let template = *pick(self.rng, &["(«0» IS NULL)", "(«0» IS NOT NULL)"]);
                Expr::same(to, "IS NULL", template, vec![self.of(of, below)])
            }
            4 => {
                let template =
                    *pick(self.rng, &["(«0» IS TRUE)", "(«0» IS NOT TRUE)", "(«0» IS FALSE)", "(«0» IS NOT FALSE)"]);
                Expr::same(to, "IS TRUE", template, vec![self.of(to, below)])
            }
            5 => {
                let of = ordered_type(self.rng);
                let mut args = vec![self.of(of, below)];
                for _ in 0..self.rng.random_range(1..5) {
                    args.push(self.of(of, below.min(1)));
                }
                let items: Vec<String> = (1..args.len()).map(|i| format!("«{i}»")).collect();
                let not = *pick(self.rng, &["", "NOT "]);
                Expr::same(to, "IN", &format!("(«0» {not}IN ({}))", items.join(", ")), args)
            }
            6 => {
                let of = ordered_type(self.rng);
                let args = vec![self.of(of, below), self.of(of, below.min(1)), self.of(of, below.min(1))];
                let not = *pick(self.rng, &["", "NOT "]);
                let template = format!("(«0» {not}BETWEEN «1» AND «2»)");
                Expr::new(to, "BETWEEN", &template, &template, Fails::Between, args)
            }
            _ => {
                let (left, right) = self.sides(below);
                comparison(self.rng, left, right)
            }
        }
    }
}

fn places(count: usize) -> String {
    (0..count).map(|i| format!("«{i}»")).collect::<Vec<_>>().join(", ")
}

fn comparison(rng: &mut StdRng, left: Expr, right: Expr) -> Expr {
    let operator = *pick(rng, &["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"]);
    Expr::same(DataType::Boolean, operator, &format!("(«0» {operator} «1»)"), vec![left, right])
}

/// `-x`, `ABS`, `SIGN`, `FLOOR`, `CEIL` and `ROUND` of any number.
fn sign_or_rounding(rng: &mut StdRng, number: Expr) -> Expr {
    let of = number.data_type;
    let fails = if of == DataType::Double { Fails::Never } else { Fails::WithoutValue };
    let to = theirs(of);
    match (rng.random_range(0..5), of) {
        (0, _) => Expr::new(of, "negation", "(- «0»)", &format!("CAST((- «0») AS {to})"), fails, vec![number]),
        (1, DataType::Double) => Expr::same(of, "ABS", "ABS(«0»)", vec![number]),
        (1, _) => Expr::new(of, "ABS", "ABS(«0»)", &format!("CAST(abs(«0») AS {to})"), fails, vec![number]),
        (2, DataType::Int | DataType::BigInt | DataType::Decimal { .. }) => {
            let theirs = "CAST(sign(«0») AS INTEGER)";
            Expr::new(DataType::Int, "SIGN", "SIGN(«0»)", theirs, Fails::Never, vec![number])
        }
        (3, DataType::Decimal { precision, scale }) if scale > 0 => {
            let name = *pick(rng, &["FLOOR", "CEIL"]);
            let result = decimal(precision - scale + 1, 0);
            let theirs = format!("CAST({name}(«0») AS {result})");
            Expr::new(result, &format!("{name} DECIMAL"), &format!("{name}(«0»)"), &theirs, Fails::Never, vec![number])
        }
        (4, DataType::Decimal { precision, scale }) if scale > 1 => {
            let digits = rng.random_range(0..scale);
            let result = decimal(precision - scale + digits + 1, digits);
            let (ours, theirs) = (format!("ROUND(«0», {digits})"), format!("CAST(round(«0», {digits}) AS {result})"));
            Expr::new(result, "ROUND DECIMAL", &ours, &theirs, Fails::Never, vec![number])
        }
        _ => number,
    }
}

/// `left operator right` by the rules of the language; `None` for a product with too many digits.
pub fn arithmetic(operator: &str, left: Expr, right: Expr) -> Option<Expr> {
    use DataType as D;
    let (a, b) = (left.data_type, right.data_type);
    let wider = common(a, b);
    let ours = format!("(«0» {operator} «1»)");
    let doubles = |theirs: &str, fails| {
        let args = vec![coerced(left.clone(), D::Double), coerced(right.clone(), D::Double)];
        Some(Expr::new(D::Double, operator, &ours, theirs, fails, args))
    };
    let exact = |to: (D, D), result: D, theirs: &str| {
        let args = vec![coerced(left.clone(), to.0), coerced(right.clone(), to.1)];
        Some(Expr::new(result, operator, &ours, theirs, Fails::WithoutValue, args))
    };
    match (operator, wider) {
        ("/", D::Int | D::BigInt) => exact((wider, wider), wider, "(«0» // «1»)"),
        ("/", _) => doubles("CASE WHEN «1» = 0 THEN NULL ELSE «0» / «1» END", Fails::WithoutValue),
        ("%", D::Double) => doubles("CASE WHEN «1» = 0 THEN NULL ELSE «0» % «1» END", Fails::WithoutValue),
        ("%", D::Int | D::BigInt) => {
            exact((wider, wider), wider, "CASE WHEN «1» = -1 THEN «0» - «0» ELSE «0» % «1» END")
        }
        ("%", _) => {
            let theirs = format!("CASE WHEN «1» = 0 THEN NULL ELSE CAST(«0» % «1» AS {wider}) END");
            exact((wider, wider), wider, &theirs)
        }
        (_, D::Double) => doubles(&ours, Fails::Never),
        ("*", D::Decimal { .. }) => {
            let ((p1, s1), (p2, s2)) = (super::types::digits(a), super::types::digits(b));
            if s1 + s2 > 38 {
                return None;
            }
            let result = decimal((p1 + p2).min(38), s1 + s2);
            // Of two short decimals, DuckDB's product is one of 18 digits.
            let theirs = format!("CAST(CAST(«0» AS DECIMAL(38,{s1})) * «1» AS {result})");
            exact((decimal(p1, s1), decimal(p2, s2)), result, &theirs)
        }
        (_, D::Decimal { precision, scale }) => {
            let result = decimal((precision + 1).min(38), scale);
            exact((result, result), result, &format!("CAST({ours} AS {result})"))
        }
        _ => exact((wider, wider), wider, &ours),
    }
}
