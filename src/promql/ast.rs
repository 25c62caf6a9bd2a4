//! The syntax tree of a query. What comes in: nothing, these are nouns. What is never true: a
//! node without its place in the text, and a tree deeper than the parser allows.

use crate::series::Matcher;
use crate::signal::Text;

use super::signature::Function;

/// Bytes `start..end` of the query's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end }
    }
}

/// An expression; `id` counts the nodes of one query from 0.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expr {
    pub(crate) span: Span,
    pub(crate) id: usize,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Number(f64),
    Text(String),
    Paren(Box<Expr>),
    Unary {
        negative: bool,
        inner: Box<Expr>,
    },
    Selector(Selector),
    /// A selector with a range in brackets.
    Window {
        selector: Selector,
        range: DurationExpr,
    },
    Subquery {
        inner: Box<Expr>,
        range: DurationExpr,
        step: Option<DurationExpr>,
        shift: Shift,
    },
    Call {
        function: &'static Function,
        args: Vec<Expr>,
    },
    Aggregate(Box<Aggregate>),
    Binary(Box<Binary>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Selector {
    /// With the one for the name, where it is given.
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) shift: Shift,
    pub(crate) edges: Edges,
}

/// Which samples stand for the ends of a window, or for an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Edges {
    /// Those within.
    #[default]
    Within,
    /// The last one before the start.
    Anchored,
    /// The line between the neighbours of each end.
    Smoothed,
}

impl Edges {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Within => "",
            Self::Anchored => "anchored",
            Self::Smoothed => "smoothed",
        }
    }
}

/// Where a selector or subquery looks instead of the evaluation time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Shift {
    pub(crate) offset: Option<DurationExpr>,
    pub(crate) at: Option<At>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum At {
    /// Milliseconds since the epoch.
    Time(i64),
    Start,
    End,
}

/// A duration that may depend on the query's step and range; numbers are seconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DurationExpr {
    Seconds(f64),
    Step,
    Range,
    Paren(Box<DurationExpr>),
    Sign { negative: bool, inner: Box<DurationExpr> },
    Binary { op: BinaryOp, left: Box<DurationExpr>, right: Box<DurationExpr> },
    Smaller(Box<DurationExpr>, Box<DurationExpr>),
    Larger(Box<DurationExpr>, Box<DurationExpr>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Aggregate {
    pub(crate) op: AggregateOp,
    pub(crate) inner: Expr,
    pub(crate) param: Option<Expr>,
    pub(crate) grouping: Grouping,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Grouping {
    /// Nothing written: one group.
    All,
    By(Vec<Text>),
    Without(Vec<Text>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AggregateOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Quantile,
    CountValues,
    Limitk,
    LimitRatio,
}

impl AggregateOp {
    pub(crate) const ALL: [(&'static str, Self); 14] = [
        ("sum", Self::Sum),
        ("avg", Self::Avg),
        ("min", Self::Min),
        ("max", Self::Max),
        ("count", Self::Count),
        ("group", Self::Group),
        ("stddev", Self::Stddev),
        ("stdvar", Self::Stdvar),
        ("topk", Self::Topk),
        ("bottomk", Self::Bottomk),
        ("quantile", Self::Quantile),
        ("count_values", Self::CountValues),
        ("limitk", Self::Limitk),
        ("limit_ratio", Self::LimitRatio),
    ];

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(word))?;
        Some(found.1)
    }

    pub(crate) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, op)| *op == self).map_or("", |(name, _)| name)
    }

    pub(crate) fn takes_param(self) -> bool {
        matches!(
            self,
            Self::Topk
                | Self::Bottomk
                | Self::Quantile
                | Self::CountValues
                | Self::Limitk
                | Self::LimitRatio
        )
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Binary {
    pub(crate) op: BinaryOp,
    pub(crate) left: Expr,
    pub(crate) right: Expr,
    /// The `bool` modifier: comparisons answer 0 or 1 and keep every element.
    pub(crate) returns_bool: bool,
    pub(crate) matching: Matching,
    /// What it evaluates to, so that whoever asks need not descend a long chain.
    pub(crate) returns: Type,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    /// `</`: keeps what a native histogram observed below a value.
    TrimUpper,
    /// `>/`: keeps what a native histogram observed above a value.
    TrimLower,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::GreaterEqual => ">=",
            Self::LessEqual => "<=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    pub(crate) fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Greater
                | Self::Less
                | Self::GreaterEqual
                | Self::LessEqual
        )
    }

    pub(crate) fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    pub(crate) fn is_trim(self) -> bool {
        matches!(self, Self::TrimUpper | Self::TrimLower)
    }

    /// Higher binds tighter (`generated_parser.y`).
    pub(crate) fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Equal
            | Self::NotEqual
            | Self::Greater
            | Self::Less
            | Self::GreaterEqual
            | Self::LessEqual
            | Self::TrimUpper
            | Self::TrimLower => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod | Self::Atan2 => 5,
            Self::Pow => 6,
        }
    }
}

/// How the elements of two vectors find each other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matching {
    pub(crate) card: Card,
    pub(crate) by: MatchBy,
    /// Labels copied from the "one" side.
    pub(crate) include: Vec<Text>,
    pub(crate) fill_left: Option<f64>,
    pub(crate) fill_right: Option<f64>,
}

impl Default for Matching {
    fn default() -> Self {
        Self {
            card: Card::OneToOne,
            by: MatchBy::Ignoring(Vec::new()),
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Card {
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MatchBy {
    On(Vec<Text>),
    Ignoring(Vec<Text>),
}

/// What an expression evaluates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Scalar,
    Text,
    Vector,
    Matrix,
}

impl Type {
    /// Prometheus's words for it.
    pub(crate) fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Text => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }
}

impl Expr {
    pub(crate) fn value_type(&self) -> Type {
        match &self.kind {
            Kind::Number(_) => Type::Scalar,
            Kind::Text(_) => Type::Text,
            Kind::Paren(inner) | Kind::Unary { inner, .. } => inner.value_type(),
            Kind::Selector(_) | Kind::Aggregate(_) => Type::Vector,
            Kind::Window { .. } | Kind::Subquery { .. } => Type::Matrix,
            Kind::Call { function, .. } => function.returns,
            Kind::Binary(binary) => binary.returns,
        }
    }

    /// A chain like `a + b + c`, which may be long, so that it need not be descended: its first operand,
    /// and its operators from the first on, with the places of what they make.
    pub(crate) fn chain(&self) -> (&Self, Vec<(&Binary, Span)>) {
        let (mut first, mut chain) = (self, Vec::new());
        while let Kind::Binary(binary) = &first.kind {
            chain.push((&**binary, first.span));
            first = &binary.left;
        }
        chain.reverse();
        (first, chain)
    }

    /// The expression within any parentheses.
    pub(crate) fn unwrapped(&self) -> &Self {
        let mut expr = self;
        while let Kind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }

    pub(crate) fn children(&self) -> Vec<&Self> {
        match &self.kind {
            Kind::Number(_) | Kind::Text(_) | Kind::Selector(_) | Kind::Window { .. } => Vec::new(),
            Kind::Paren(inner) | Kind::Unary { inner, .. } | Kind::Subquery { inner, .. } => {
                vec![inner]
            }
            Kind::Call { args, .. } => args.iter().collect(),
            Kind::Aggregate(aggregate) => {
                aggregate.param.iter().chain([&aggregate.inner]).collect()
            }
            Kind::Binary(binary) => vec![&binary.left, &binary.right],
        }
    }
}
