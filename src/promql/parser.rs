//! Tokens to a syntax tree, by precedence climbing. What comes in: text. What goes out: a tree
//! whose types are checked, or an error with its place. What is never true: a tree deeper than
//! [`DEPTH_MAX`], so that no walk over one can run out of stack.

use super::ParseError;
use super::ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Card, Expr, Grouping, Kind, MatchBy, Matching, Span,
    Type,
};
use super::check::check;
use super::lexer::{Token, tokens};
use super::signature::Function;
use crate::go_regex::Room;
use crate::signal::Text;

/// Nesting of expressions. What people write stays below 20; 10,000 parentheses are an error and
/// not a stack overflow. A debug build needs less than 1.5 MiB of stack for the deepest.
const DEPTH_MAX: usize = 1000;

/// What an operand within another costs of [`DEPTH_MAX`]; one more operator of a chain like
/// `a + b + c` costs 1, since it takes less stack.
const NESTED_COST: usize = 10;

/// Bytes of a query. A longer one is a mistake; the bound keeps trees small.
pub(super) const TEXT_MAX: usize = 1 << 20;

pub(super) struct Parser<'r> {
    tokens: Vec<(Token, Span)>,
    pub(super) at: usize,
    pub(super) depth: usize,
    n_nodes: usize,
    /// For the regular expressions of all its selectors.
    pub(super) patterns: &'r mut Room,
}

pub(super) fn parse(text: &str, patterns: &mut Room) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(text, patterns)?;
    if parser.peek() == &Token::End {
        return Err(parser.error_here("no expression found in input"));
    }
    let expr = parser.expression(0)?;
    if parser.peek() != &Token::End {
        return Err(parser.unexpected("end of input", ""));
    }
    super::check::whole(&expr)?;
    Ok(expr)
}

impl<'r> Parser<'r> {
    pub(super) fn new(text: &str, patterns: &'r mut Room) -> Result<Self, ParseError> {
        if text.len() > TEXT_MAX {
            let message = format!("the query is longer than {TEXT_MAX} bytes");
            return Err(ParseError { at: TEXT_MAX, end: text.len(), message });
        }
        Ok(Self { tokens: tokens(text)?, at: 0, depth: 0, n_nodes: 0, patterns })
    }

    // Tokens.

    pub(super) fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(token, _)| token)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> &Token {
        self.tokens.get(self.at + ahead).map_or(&Token::End, |(token, _)| token)
    }

    pub(super) fn span(&self) -> Span {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(Span::default(), |(_, span)| *span)
    }

    /// Where the token before this one ended.
    pub(super) fn last_end(&self) -> usize {
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        before.map_or(0, |(_, span)| span.end)
    }

    pub(super) fn eat(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(s) if *s == symbol);
        if found {
            self.at += 1;
        }
        found
    }

    pub(super) fn is_word(&self, keyword: &str) -> bool {
        matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    pub(super) fn eat_word(&mut self, keyword: &str) -> bool {
        let found = self.is_word(keyword);
        if found {
            self.at += 1;
        }
        found
    }

    pub(super) fn expect(&mut self, symbol: &str, place: &str) -> Result<(), ParseError> {
        if self.eat(symbol) {
            return Ok(());
        }
        Err(self.unexpected(&format!("{symbol:?}"), place))
    }

    // Errors.

    pub(super) fn error_here(&self, message: impl Into<String>) -> ParseError {
        error_at(self.span(), message)
    }

    pub(super) fn unexpected(&self, wanted: &str, place: &str) -> ParseError {
        let found = match self.peek() {
            Token::Word(word) => format!("identifier {word:?}"),
            Token::Number(x) => format!("number \"{x}\""),
            Token::Text(text) => format!("string {text:?}"),
            Token::Broken(quoted) => format!("string {quoted} that is not valid UTF-8"),
            Token::Symbol(symbol) => format!("{symbol:?}"),
            Token::End => "end of input".to_owned(),
        };
        let place = if place.is_empty() { String::new() } else { format!(" in {place}") };
        let wanted = if wanted.is_empty() { String::new() } else { format!(", expected {wanted}") };
        self.error_here(format!("unexpected {found}{place}{wanted}"))
    }

    pub(super) fn node(&mut self, span: Span, kind: Kind) -> Expr {
        let id = self.n_nodes;
        self.n_nodes += 1;
        Expr { span, id, kind }
    }

    /// Counts one level of nesting; the caller puts `depth` back.
    pub(super) fn descend(&mut self) -> Result<(), ParseError> {
        self.deepen(NESTED_COST)
    }

    /// Counts one more operator of a chain; the caller puts `depth` back.
    fn chain(&mut self) -> Result<(), ParseError> {
        self.deepen(1)
    }

    fn deepen(&mut self, cost: usize) -> Result<(), ParseError> {
        self.depth += cost;
        if self.depth > DEPTH_MAX {
            return Err(self.error_here("the expression is nested too deep"));
        }
        Ok(())
    }

    // Expressions.

    /// Reads operators that bind at least as tight as `tightness`.
    pub(super) fn expression(&mut self, tightness: u8) -> Result<Expr, ParseError> {
        let depth = self.depth;
        self.descend()?;
        let mut left = self.operand()?;
        while let Some(op) = self.binary_op() {
            if op.precedence() < tightness {
                break;
            }
            // Each operator puts what stands to its left one level deeper.
            self.chain()?;
            left = self.binary(left, op)?;
        }
        self.depth = depth;
        Ok(left)
    }

    fn binary_op(&self) -> Option<BinaryOp> {
        Some(match self.peek() {
            Token::Symbol(symbol) => match *symbol {
                "+" => BinaryOp::Add,
                "-" => BinaryOp::Sub,
                "*" => BinaryOp::Mul,
                "/" => BinaryOp::Div,
                "%" => BinaryOp::Mod,
                "^" => BinaryOp::Pow,
                "==" => BinaryOp::Equal,
                "!=" => BinaryOp::NotEqual,
                ">" => BinaryOp::Greater,
                "<" => BinaryOp::Less,
                ">=" => BinaryOp::GreaterEqual,
                "<=" => BinaryOp::LessEqual,
                "</" => BinaryOp::TrimUpper,
                ">/" => BinaryOp::TrimLower,
                _ => return None,
            },
            Token::Word(word) => match word.to_ascii_lowercase().as_str() {
                "and" => BinaryOp::And,
                "or" => BinaryOp::Or,
                "unless" => BinaryOp::Unless,
                "atan2" => BinaryOp::Atan2,
                _ => return None,
            },
            _ => return None,
        })
    }

    fn binary(&mut self, left: Expr, op: BinaryOp) -> Result<Expr, ParseError> {
        let op_span = self.span();
        self.at += 1;
        let returns_bool = self.eat_word("bool");
        if returns_bool && !op.is_comparison() {
            let message = "bool modifier can only be used on comparison operators";
            return Err(error_at(op_span, message));
        }
        let (matching, written) = self.matching()?;
        // "^" is the only operator that groups to the right.
        let tightness = if op == BinaryOp::Pow { op.precedence() } else { op.precedence() + 1 };
        let right = self.expression(tightness)?;
        let span = left.span.to(right.span);
        let are_scalars = [&left, &right].iter().all(|side| side.value_type() == Type::Scalar);
        let returns = if are_scalars { Type::Scalar } else { Type::Vector };
        let binary = Binary { op, left, right, returns_bool, matching, returns };
        super::check::binary(&binary, op_span, written)?;
        Ok(self.node(span, Kind::Binary(Box::new(binary))))
    }

    fn matching(&mut self) -> Result<(Matching, Option<Span>), ParseError> {
        let mut matching = Matching::default();
        let span = self.span();
        let mut written = None;
        if self.is_word("on") || self.is_word("ignoring") {
            written = Some(span);
            let on = self.is_word("on");
            self.at += 1;
            let labels = self.grouping_labels()?;
            matching.by = if on { MatchBy::On(labels) } else { MatchBy::Ignoring(labels) };
            let left = self.is_word("group_left");
            if left || self.is_word("group_right") {
                self.at += 1;
                matching.card = if left { Card::ManyToOne } else { Card::OneToMany };
                if matches!(self.peek(), Token::Symbol("(")) {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        while let Token::Word(word) = self.peek() {
            let (left, right) = match word.to_ascii_lowercase().as_str() {
                "fill" => (true, true),
                "fill_left" => (true, false),
                "fill_right" => (false, true),
                _ => break,
            };
            if !matches!(self.peek_at(1), Token::Symbol("(")) {
                break;
            }
            written = written.or(Some(span));
            let value = self.fill_value()?;
            if left {
                matching.fill_left = Some(value);
            }
            if right {
                matching.fill_right = Some(value);
            }
        }
        Ok((matching, written))
    }

    fn fill_value(&mut self) -> Result<f64, ParseError> {
        self.at += 1;
        self.expect("(", "fill modifier")?;
        let sign = if self.eat("-") { -1.0 } else { 1.0 };
        if sign > 0.0 {
            self.eat("+");
        }
        let value = match self.peek() {
            Token::Number(x) => Some(*x),
            Token::Word(word) => super::text::number(word),
            _ => None,
        };
        let value = value.ok_or_else(|| self.unexpected("a number", "fill modifier"))?;
        self.at += 1;
        self.expect(")", "fill modifier")?;
        Ok(sign * value)
    }

    /// A unary sign binds tighter than "*" and looser than "^".
    fn operand(&mut self) -> Result<Expr, ParseError> {
        let start = self.span();
        let negative = matches!(self.peek(), Token::Symbol("-"));
        if !negative && !matches!(self.peek(), Token::Symbol("+")) {
            let expr = self.primary()?;
            return self.suffixes(expr);
        }
        self.at += 1;
        let inner = self.expression(BinaryOp::Pow.precedence())?;
        super::check::unary(&inner, start)?;
        let span = start.to(inner.span);
        Ok(self.node(span, Kind::Unary { negative, inner: Box::new(inner) }))
    }

    fn primary(&mut self) -> Result<Expr, ParseError> {
        let span = self.span();
        match self.peek().clone() {
            Token::Number(x) => {
                self.at += 1;
                Ok(self.node(span, Kind::Number(x)))
            }
            Token::Text(text) => {
                self.at += 1;
                Ok(self.node(span, Kind::Text(text)))
            }
            Token::Symbol("(") => self.paren(span),
            Token::Symbol("{") => self.selector(None),
            Token::Word(word) => self.named(word),
            _ => Err(self.unexpected("", "")),
        }
    }

    fn paren(&mut self, start: Span) -> Result<Expr, ParseError> {
        self.at += 1;
        let inner = self.expression(0)?;
        if !self.eat(")") {
            return Err(match self.peek() {
                Token::End => error_at(start, "unclosed left parenthesis"),
                _ => self.unexpected("\")\"", ""),
            });
        }
        let span = Span { start: start.start, end: self.last_end() };
        Ok(self.node(span, Kind::Paren(Box::new(inner))))
    }

    /// An aggregation, a call, a number in words, or a metric's name.
    fn named(&mut self, word: String) -> Result<Expr, ParseError> {
        let next = self.peek_at(1);
        let opens = matches!(next, Token::Symbol("("));
        let groups = matches!(next, Token::Word(w) if is_grouping(w));
        if let Some(op) = AggregateOp::from_word(&word)
            && (opens || groups)
        {
            return self.aggregate(op);
        }
        if opens {
            return self.call(&word);
        }
        if let Some(x) = super::text::number(&word) {
            let span = self.span();
            self.at += 1;
            return Ok(self.node(span, Kind::Number(x)));
        }
        if is_reserved(&word) {
            return Err(self.unexpected("", ""));
        }
        self.selector(Some(word))
    }

    fn arguments(&mut self, place: &str) -> Result<Vec<Expr>, ParseError> {
        self.expect("(", place)?;
        let mut args = Vec::new();
        if self.eat(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expression(0)?);
            if self.eat(",") {
                continue;
            }
            self.expect(")", place)?;
            return Ok(args);
        }
    }

    fn call(&mut self, word: &str) -> Result<Expr, ParseError> {
        let start = self.span();
        let Some(function) = Function::named(word) else {
            return Err(self.error_here(format!("unknown function with name {word:?}")));
        };
        self.at += 1;
        let args = if function.name == "info" {
            self.info_arguments()?
        } else {
            self.arguments("function call")?
        };
        let span = Span { start: start.start, end: self.last_end() };
        check(function, &args, span)?;
        Ok(self.node(span, Kind::Call { function, args }))
    }

    /// The second argument of `info` may match series without any label.
    fn info_arguments(&mut self) -> Result<Vec<Expr>, ParseError> {
        self.expect("(", "function call")?;
        let mut args = vec![self.expression(0)?];
        if self.eat(",") {
            if !matches!(self.peek(), Token::Symbol("{")) {
                let message = "expected label selectors only, got vector selector instead";
                return Err(self.error_here(message));
            }
            args.push(self.any_selector()?);
        }
        self.expect(")", "function call")?;
        Ok(args)
    }

    fn aggregate(&mut self, op: AggregateOp) -> Result<Expr, ParseError> {
        let start = self.span();
        self.at += 1;
        let mut grouping = self.grouping()?;
        if let (AggregateOp::CountValues, Token::Broken(quoted)) = (op, self.peek_at(1)) {
            return Err(self.error_here(format!("invalid label name {quoted}")));
        }
        let mut args = self.arguments("aggregation")?;
        if grouping == Grouping::All {
            grouping = self.grouping()?;
        }
        let span = Span { start: start.start, end: self.last_end() };
        let (wanted, got) = (if op.takes_param() { 2 } else { 1 }, args.len());
        let (Some(inner), true) = (args.pop(), got == wanted) else {
            let message = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, \
                 got {got}"
            );
            return Err(error_at(span, message));
        };
        let aggregate = Aggregate { op, inner, param: args.pop(), grouping };
        super::check::aggregate(&aggregate)?;
        Ok(self.node(span, Kind::Aggregate(Box::new(aggregate))))
    }

    fn grouping(&mut self) -> Result<Grouping, ParseError> {
        let by = self.is_word("by");
        if !by && !self.is_word("without") {
            return Ok(Grouping::All);
        }
        self.at += 1;
        let labels = self.grouping_labels()?;
        Ok(if by { Grouping::By(labels) } else { Grouping::Without(labels) })
    }

    fn grouping_labels(&mut self) -> Result<Vec<Text>, ParseError> {
        self.expect("(", "grouping opts")?;
        let mut labels: Vec<Text> = Vec::new();
        while !self.eat(")") {
            let (Token::Word(name) | Token::Text(name)) = self.peek().clone() else {
                return Err(self.unexpected("label", "grouping opts"));
            };
            if name.is_empty() || name.contains(':') {
                return Err(self.unexpected("label", "grouping opts"));
            }
            self.at += 1;
            labels.push(name.into());
            if !self.eat(",") && !matches!(self.peek(), Token::Symbol(")")) {
                return Err(self.unexpected("\",\" or \")\"", "grouping opts"));
            }
        }
        Ok(labels)
    }
}

fn is_grouping(word: &str) -> bool {
    word.eq_ignore_ascii_case("by") || word.eq_ignore_ascii_case("without")
}

/// Words of the language that name no metric outside braces.
pub(super) fn is_reserved(word: &str) -> bool {
    let reserved = ["on", "ignoring", "group_left", "group_right", "bool", "atan2"];
    reserved.iter().any(|own| word.eq_ignore_ascii_case(own))
}

pub(super) fn error_at(span: Span, message: impl Into<String>) -> ParseError {
    ParseError { at: span.start, end: span.end, message: message.into() }
}
