//! Cases worth naming: expressions over constants and a few rows, with the values that SQL (PostgreSQL, where it decides) gives.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::*;
use crate::expr::{Function, compile::Node};

const MONEY: DataType = generate::MONEY;

fn literal(value: Value, data_type: DataType) -> Expr {
    Expr::Literal { value, data_type }
}

fn text(text: &str) -> Expr {
    literal(Value::Text(text.to_owned()), DataType::Text)
}

fn int(value: i64) -> Expr {
    literal(Value::Int(value), DataType::Int)
}

fn double(value: f64) -> Expr {
    literal(Value::Double(value), DataType::Double)
}

fn call(function: Function, args: Vec<Expr>, data_type: DataType) -> Expr {
    Expr::Call { function, args, data_type }
}

fn cast(input: Expr, to: DataType) -> Expr {
    Expr::Cast { input: Box::new(input), to, safe: false }
}

/// The outcome for each of two rows without columns: both must be the same.
fn constant_outcome(expr: &Expr) -> Result<Value, Failure> {
    let compiled = CompiledExpr::compile(expr, &Schema::default(), &registry()).unwrap();
    let both = outcomes(&compiled, expr.data_type(), &pl::DataFrame::empty_with_height(2));
    assert!(same(&both[0], &both[1]));
    let none = outcomes(&compiled, expr.data_type(), &pl::DataFrame::empty_with_height(0));
    assert_eq!(none, []);
    both.into_iter().next().unwrap()
}

#[track_caller]
fn gives(expr: Expr, expected: Result<Value, Failure>) {
    let outcome = constant_outcome(&expr);
    assert!(same(&outcome, &expected), "{expr:?} gives {outcome:?}, not {expected:?}");
}

fn a_text(text: &str) -> Result<Value, Failure> {
    Ok(Value::Text(text.to_owned()))
}

#[test]
fn texts_are_cut_as_postgresql_does() {
    use Function as F;
    let t = DataType::Text;
    let substring = |from, count| call(F::Substring, vec![text("ábcdé"), int(from), int(count)], t);
    gives(substring(2, 3), a_text("bcd"));
    gives(substring(-1, 3), a_text("á"));
    gives(substring(0, 1), a_text(""));
    gives(substring(5, i64::from(i32::MAX)), a_text("é"));
    gives(substring(1, -1), Err(Failure::Domain));
    gives(call(F::Left, vec![text("ábc"), int(-1)], t), a_text("áb"));
    gives(call(F::Right, vec![text("ábc"), int(-1)], t), a_text("bc"));
    gives(call(F::Right, vec![text("ábc"), int(2)], t), a_text("bc"));
    gives(call(F::SplitPart, vec![text("a,b,,c"), text(","), int(-2)], t), a_text(""));
    gives(call(F::SplitPart, vec![text("a,b"), text(","), int(0)], t), Err(Failure::Domain));
    gives(call(F::Position, vec![text("áb"), text("b")], DataType::Int), Ok(Value::Int(2)));
    gives(call(F::Position, vec![text("áb"), text("")], DataType::Int), Ok(Value::Int(1)));
    gives(call(F::Trim, vec![text("\t a ")], t), a_text("\t a"));
}

#[test]
fn patterns() {
    let like = |subject: &str, pattern: &str, case_insensitive| {
        let function = Function::Like { pattern: pattern.to_owned(), escape: Some('!'), case_insensitive };
        call(function, vec![text(subject)], DataType::Boolean)
    };
    for (subject, pattern, expected) in [
        ("abc", "a%", true),
        ("a\nc", "a_c", true),
        ("a\nc", "a%c", true),
        ("a.c", "a.c", true),
        ("abc", "a.c", false),
        ("50%", "50!%", true),
        ("50x", "50!%", false),
        ("", "%", true),
        ("", "_", false),
        ("é", "_", true),
        ("ABC", "abc", false),
    ] {
        gives(like(subject, pattern, false), Ok(Value::Boolean(expected)));
    }
    gives(like("STRASSE É", "%sse é", true), Ok(Value::Boolean(true)));
    let unfinished = like("a", "a!", false);
    assert!(CompiledExpr::compile(&unfinished, &Schema::default(), &registry()).is_err());
}

#[test]
fn numbers_become_texts_and_back() {
    for (value, expected) in [
        (0.1, "0.1"),
        (-0.0, "0"),
        (1.0, "1"),
        (1e15, "1000000000000000"),
        (1e16, "1e16"),
        (1.5e-7, "1.5e-7"),
        (0.0001, "0.0001"),
        (f64::MAX, "1.7976931348623157e308"),
        (5e-324, "5e-324"),
        (f64::NAN, "NaN"),
        (f64::NEG_INFINITY, "-Infinity"),
    ] {
        gives(cast(double(value), DataType::Text), a_text(expected));
        gives(cast(text(expected), DataType::Double), Ok(Value::Double(value + 0.0)));
    }
    gives(cast(literal(Value::Decimal(-5), MONEY), DataType::Text), a_text("-0.05"));
    gives(cast(text(" 1.005 "), MONEY), Ok(Value::Decimal(101)));
    gives(cast(text("-1.005"), MONEY), Ok(Value::Decimal(-101)));
    gives(cast(text("99999999999"), MONEY), Err(Failure::InvalidCast));
    gives(cast(double(2.675), MONEY), Ok(Value::Decimal(268)));
    gives(cast(double(2.5), DataType::Int), Ok(Value::Int(2)));
    gives(cast(literal(Value::Decimal(250), MONEY), DataType::Int), Ok(Value::Int(3)));
    gives(cast(double(9.3e18), DataType::BigInt), Err(Failure::InvalidCast));
    gives(cast(double(f64::NAN), DataType::BigInt), Err(Failure::InvalidCast));
    gives(cast(text("1e400"), DataType::Double), Err(Failure::InvalidCast));
    gives(cast(text("0x10"), DataType::Int), Err(Failure::InvalidCast));
    gives(cast(text(""), DataType::Int), Err(Failure::InvalidCast));
    gives(Expr::Cast { input: Box::new(text("x")), to: DataType::Int, safe: true }, Ok(Value::Null));
}

#[test]
fn arithmetic_is_checked() {
    use Function as F;
    let min = || int(i64::from(i32::MIN));
    gives(call(F::Divide, vec![min(), int(-1)], DataType::Int), Err(Failure::OutOfRange));
    gives(call(F::Modulo, vec![min(), int(-1)], DataType::Int), Ok(Value::Int(0)));
    gives(call(F::Modulo, vec![int(-7), int(3)], DataType::Int), Ok(Value::Int(-1)));
    gives(call(F::Divide, vec![int(-7), int(2)], DataType::Int), Ok(Value::Int(-3)));
    gives(call(F::Abs, vec![min()], DataType::Int), Err(Failure::OutOfRange));
    gives(call(F::Divide, vec![double(1.0), double(-0.0)], DataType::Double), Err(Failure::DivisionByZero));
    gives(call(F::Round { digits: 2 }, vec![double(1.005)], DataType::Double), Ok(Value::Double(1.01)));
    gives(call(F::Round { digits: 0 }, vec![double(-2.5)], DataType::Double), Ok(Value::Double(-3.0)));
    gives(call(F::Multiply, vec![double(-1.0), double(0.0)], DataType::Double), Ok(Value::Double(0.0)));
}

#[test]
fn nulls_and_nan_compare_as_sql_says() {
    use Function as F;
    let b = DataType::Boolean;
    let null = || literal(Value::Null, DataType::Double);
    let nan = || double(f64::NAN);
    gives(call(F::Equal, vec![nan(), nan()], b), Ok(Value::Boolean(true)));
    gives(call(F::Less, vec![double(f64::INFINITY), nan()], b), Ok(Value::Boolean(true)));
    gives(call(F::Equal, vec![double(-0.0), double(0.0)], b), Ok(Value::Boolean(true)));
    gives(call(F::In, vec![double(1.0), null(), double(2.0)], b), Ok(Value::Null));
    gives(call(F::In, vec![nan(), null(), nan()], b), Ok(Value::Boolean(true)));
    gives(call(F::In, vec![null(), nan()], b), Ok(Value::Null));
    gives(call(F::IsDistinctFrom, vec![null(), nan()], b), Ok(Value::Boolean(true)));
    gives(call(F::Greatest, vec![null(), double(1.0), nan()], DataType::Double), Ok(Value::Double(f64::NAN)));
    let long = std::iter::once(double(-0.0)).chain((0..20).map(|v| double(f64::from(v)))).collect();
    gives(call(F::In, long, b), Ok(Value::Boolean(true)));
}

#[test]
fn only_the_branch_taken_fails() {
    use Function as F;
    let failing = || call(F::Divide, vec![int(1), int(0)], DataType::Int);
    let fails = || call(F::Equal, vec![failing(), int(1)], DataType::Boolean);
    let boolean = |v| literal(v, DataType::Boolean);
    let (yes, no, null) = (Value::Boolean(true), Value::Boolean(false), Value::Null);
    let by_zero = Err(Failure::DivisionByZero);
    for (function, first, expected) in [
        (F::And, no.clone(), Ok(no.clone())),
        (F::And, yes.clone(), by_zero.clone()),
        (F::And, null.clone(), by_zero.clone()),
        (F::Or, yes.clone(), Ok(yes.clone())),
        (F::Or, no.clone(), by_zero.clone()),
        (F::Or, null, by_zero.clone()),
    ] {
        gives(call(function, vec![boolean(first), fails()], DataType::Boolean), expected);
    }
    // From left to right: the failure comes first here.
    gives(call(F::And, vec![fails(), boolean(no.clone())], DataType::Boolean), by_zero.clone());
    gives(call(F::Coalesce, vec![int(1), failing()], DataType::Int), Ok(Value::Int(1)));
    let case = |condition: Value| Expr::Case {
        branches: vec![(boolean(condition), failing())],
        otherwise: Some(Box::new(int(2))),
        data_type: DataType::Int,
    };
    gives(case(no), Ok(Value::Int(2)));
    gives(case(yes), by_zero);
}

#[test]
fn user_functions_are_called_where_they_count() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let registry = Registry::new().scalar("count_me", 2, &[DataType::BigInt], DataType::BigInt, move |arguments| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(arguments[0].clone())
    });
    let field = |name: &str| crate::types::Field { name: name.to_owned(), data_type: DataType::BigInt, nullable: true };
    let schema = Schema { fields: vec![field("a")] };
    let rows: Vec<Vec<Value>> = (0..10).map(|v| vec![Value::Int(v)]).collect();
    let column = || Expr::column(&schema, 0);
    let user = |version| Expr::User {
        name: "count_me".to_owned(),
        version,
        args: vec![call(Function::Divide, vec![literal(Value::Int(6), DataType::BigInt), column()], DataType::BigInt)],
        data_type: DataType::BigInt,
    };
    let limit = literal(Value::Int(4), DataType::BigInt);
    let expr = Expr::Case {
        branches: vec![(call(Function::Less, vec![column(), limit], DataType::Boolean), user(2))],
        otherwise: None,
        data_type: DataType::BigInt,
    };
    let compiled = CompiledExpr::compile(&expr, &schema, &registry).unwrap();
    let result = outcomes(&compiled, DataType::BigInt, &frame(&schema, &rows));
    assert_eq!(
        result[..5],
        [Err(Failure::DivisionByZero), Ok(Value::Int(6)), Ok(Value::Int(3)), Ok(Value::Int(2)), Ok(Value::Null)]
    );
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    let error = CompiledExpr::compile(&user(1), &schema, &registry).unwrap_err().to_string();
    assert_eq!(error, "the function count_me is registered with version 2, the definition was planned with version 1");
}

#[test]
fn what_cannot_fail_is_one_polars_expression() {
    use Function as F;
    let schema = generate::schema();
    let column = |index| Expr::column(&schema, index);
    let less = call(F::Less, vec![column(3), double(1.0)], DataType::Boolean);
    let equal = call(F::Equal, vec![column(6), text("x")], DataType::Boolean);
    let both = call(F::And, vec![less, equal.clone()], DataType::Boolean);
    let registry = registry();
    let compiler = |expr: &Expr| CompiledExpr::compile(expr, &schema, &registry).unwrap();
    assert!(matches!(&*compiler(&both).node, Node::Native { inputs, .. } if inputs.len() == 2));
    // A kernel's value is an input of the expression around it.
    let sum = call(F::Add, vec![column(1), int(1)], DataType::Int);
    let mixed = call(F::And, vec![call(F::Less, vec![sum, int(3)], DataType::Boolean), equal], DataType::Boolean);
    let compiled = compiler(&mixed);
    let Node::Native { inputs, .. } = &*compiled.node else { panic!("planned by polars") };
    assert!(matches!(inputs[..], [Node::Kernel { .. }, Node::Column(_)]));
    // Constants are evaluated once.
    let constant = call(F::Lower, vec![call(F::Concat, vec![text("A"), text("B")], DataType::Text)], DataType::Text);
    assert!(matches!(*compiler(&constant).node, Node::Constant(_)));
}

#[test]
fn what_does_not_compile_says_why() {
    let schema = Schema::default();
    let error = |expr: &Expr| CompiledExpr::compile(expr, &schema, &registry()).unwrap_err().to_string();
    let timestamp = literal(Value::Timestamp(0), DataType::Timestamp);
    let zone = Function::Extract { field: crate::expr::DateField::Hour, time_zone: Some("Mars/Base".to_owned()) };
    assert_eq!(
        error(&call(zone, vec![timestamp.clone()], DataType::BigInt)),
        "\"Mars/Base\" is not a time zone of the IANA data, such as 'Europe/Berlin'"
    );
    let pattern = Function::RegexpLike { pattern: "(".to_owned() };
    assert!(error(&call(pattern, vec![text("a")], DataType::Boolean)).starts_with("the regular expression '('"));
    let group = Function::RegexpExtract { pattern: "a".to_owned(), group: 1 };
    assert_eq!(
        error(&call(group, vec![text("a")], DataType::Text)),
        "the regular expression 'a' has no capture group 1; it has 0"
    );
    assert_eq!(error(&cast(timestamp, DataType::Boolean)), "there is no CAST from TIMESTAMP to BOOLEAN");
}

#[test]
fn long_chains_do_not_exhaust_the_stack() {
    let schema = generate::schema();
    let mut chain = call(Function::Equal, vec![Expr::column(&schema, 1), int(-1)], DataType::Boolean);
    let mut sum = Expr::column(&schema, 1);
    for value in 0..1_000 {
        let next = call(Function::Equal, vec![Expr::column(&schema, 1), int(value)], DataType::Boolean);
        chain = call(Function::Or, vec![chain, next], DataType::Boolean);
        sum = call(Function::Add, vec![sum, int(1)], DataType::Int);
    }
    // What polars names twice must not double with every level.
    let mut nested = Expr::column(&schema, 1);
    for value in 0..60 {
        let function = if value % 2 == 0 { Function::Coalesce } else { Function::NullIf };
        nested = call(function, vec![nested, int(value)], DataType::Int);
    }
    let mut row = vec![Value::Null; schema.fields.len()];
    row[1] = Value::Int(999);
    let registry = registry();
    for (expr, expected) in [(chain, Value::Boolean(true)), (sum, Value::Int(1_999)), (nested, Value::Int(999))] {
        let compiled = CompiledExpr::compile(&expr, &schema, &registry).unwrap();
        assert_eq!(outcomes(&compiled, expr.data_type(), &frame(&schema, std::slice::from_ref(&row))), [Ok(expected)]);
    }
}
