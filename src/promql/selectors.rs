//! The parser's part for selectors and what may follow them: label matchers, ranges, subqueries,
//! `offset` and `@`. What is never true: a selector that could match every series, but in `info`.

use super::ParseError;
use super::ast::{At, BinaryOp, DurationExpr, Edges, Expr, Kind, Selector, Shift, Span, Type};
use super::lexer::Token;
use super::parser::{Parser, error_at};
use crate::number::i64_from_f64;
use crate::series::{MatchOp, Matcher};
use crate::signal::METRIC_NAME;

impl Parser<'_> {
    pub(super) fn selector(&mut self, name: Option<String>) -> Result<Expr, ParseError> {
        let (expr, has_condition) = self.matchers(name)?;
        if !has_condition {
            let message = "vector selector must contain at least one non-empty matcher";
            return Err(error_at(expr.span, message));
        }
        Ok(expr)
    }

    pub(super) fn any_selector(&mut self) -> Result<Expr, ParseError> {
        self.matchers(None).map(|(expr, _)| expr)
    }

    /// A selector, and whether one of its matchers refuses the empty value.
    fn matchers(&mut self, name: Option<String>) -> Result<(Expr, bool), ParseError> {
        let start = self.span();
        let mut matchers = Vec::new();
        let named = name.is_some();
        if let Some(name) = name {
            self.at += 1;
            matchers.push(Matcher::equal(METRIC_NAME, &name));
        }
        if self.eat("{") {
            let mut quoted = false;
            while !self.eat("}") {
                let matcher = self.matcher(named || quoted)?;
                quoted |= matches!((&*matcher.name, matcher.op), (METRIC_NAME, MatchOp::Equal));
                let clash = named && &*matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal;
                if clash {
                    let first = matchers.first().map_or("", |m: &Matcher| &*m.value);
                    let message = format!(
                        "metric name must not be set twice: {first:?} or {:?}",
                        &*matcher.value
                    );
                    return Err(error_at(start, message));
                }
                matchers.push(matcher);
                if !self.eat(",") && !matches!(self.peek(), Token::Symbol("}")) {
                    return Err(self.unexpected("\",\" or \"}\"", "label matching"));
                }
            }
        }
        let span = Span { start: start.start, end: self.last_end() };
        let has_condition = matchers.iter().any(|matcher| !matcher.matches(""));
        let selector = Selector { matchers, shift: Shift::default(), edges: Edges::Within };
        Ok((self.node(span, Kind::Selector(selector)), has_condition))
    }

    fn matcher(&mut self, named: bool) -> Result<Matcher, ParseError> {
        let span = self.span();
        let name = match self.peek().clone() {
            Token::Text(name) => {
                self.at += 1;
                if matches!(self.peek(), Token::Symbol("," | "}")) {
                    if named {
                        let message = format!("metric name must not be set twice: {name:?}");
                        return Err(error_at(span, message));
                    }
                    return Ok(Matcher::equal(METRIC_NAME, &name));
                }
                name
            }
            Token::Word(name) if !name.contains(':') => {
                self.at += 1;
                name
            }
            _ => return Err(self.unexpected("identifier or \"}\"", "label matching")),
        };
        let op = match self.peek() {
            Token::Symbol("=") => MatchOp::Equal,
            Token::Symbol("!=") => MatchOp::NotEqual,
            Token::Symbol("=~") => MatchOp::Regex,
            Token::Symbol("!~") => MatchOp::NotRegex,
            _ => return Err(self.unexpected("label matching operator", "label matching")),
        };
        self.at += 1;
        let value_span = self.span();
        let Token::Text(value) = self.peek().clone() else {
            return Err(self.unexpected("string", "label matching"));
        };
        self.at += 1;
        Matcher::within(&name, op, &value, self.patterns)
            .map_err(|error| error_at(value_span, error.to_string()))
    }

    /// What may follow an operand, in any number and order.
    pub(super) fn suffixes(&mut self, mut expr: Expr) -> Result<Expr, ParseError> {
        let depth = self.depth;
        loop {
            if matches!(self.peek(), Token::Symbol("[")) {
                self.descend()?;
                expr = self.brackets(expr)?;
            } else if self.is_word("offset") {
                self.at += 1;
                let offset = self.offset()?;
                let end = self.last_end();
                let shift = shift_of(&mut expr, "offset")?;
                if shift.offset.is_some() {
                    let message = "offset may not be set multiple times";
                    return Err(error_at(expr.span, message));
                }
                shift.offset = Some(offset);
                expr.span.end = end;
            } else if self.eat("@") {
                let at = self.at_time()?;
                let end = self.last_end();
                let shift = shift_of(&mut expr, "@")?;
                if shift.at.is_some() {
                    return Err(error_at(expr.span, "@ <timestamp> may not be set multiple times"));
                }
                shift.at = Some(at);
                expr.span.end = end;
            } else if self.is_word("anchored") || self.is_word("smoothed") {
                let anchored = self.is_word("anchored");
                let edges = if anchored { Edges::Anchored } else { Edges::Smoothed };
                self.at += 1;
                set_edges(&mut expr, edges)?;
                expr.span.end = self.last_end();
            } else {
                self.depth = depth;
                return Ok(expr);
            }
        }
    }

    fn brackets(&mut self, expr: Expr) -> Result<Expr, ParseError> {
        let opened = self.span();
        self.at += 1;
        let range = self.duration(0)?;
        if let DurationExpr::Seconds(seconds) = range
            && seconds <= 0.0
        {
            return Err(error_at(opened, "duration must be greater than 0"));
        }
        if self.eat(":") {
            return self.subquery(expr, range);
        }
        self.expect("]", "range selector")?;
        let span = Span { start: expr.span.start, end: self.last_end() };
        let Kind::Selector(selector) = expr.kind else {
            let message = "ranges only allowed for vector selectors";
            return Err(error_at(opened, message));
        };
        if selector.shift != Shift::default() || selector.edges != Edges::Within {
            let message = "no offset or @ modifiers allowed before range";
            return Err(error_at(opened, message));
        }
        Ok(self.node(span, Kind::Window { selector, range }))
    }

    fn subquery(&mut self, expr: Expr, range: DurationExpr) -> Result<Expr, ParseError> {
        let step =
            if matches!(self.peek(), Token::Symbol("]")) { None } else { Some(self.duration(0)?) };
        self.expect("]", "subquery selector")?;
        let span = Span { start: expr.span.start, end: self.last_end() };
        if expr.value_type() != Type::Vector {
            let message = format!(
                "subquery is only allowed on instant vector, got {} instead",
                expr.value_type().documented()
            );
            return Err(error_at(span, message));
        }
        let inner = Box::new(expr);
        Ok(self.node(span, Kind::Subquery { inner, range, step, shift: Shift::default() }))
    }

    fn at_time(&mut self) -> Result<At, ParseError> {
        if self.is_word("start") || self.is_word("end") {
            let at = if self.is_word("start") { At::Start } else { At::End };
            self.at += 1;
            self.expect("(", "@")?;
            self.expect(")", "@")?;
            return Ok(at);
        }
        let span = self.span();
        let sign = if self.eat("-") { -1.0 } else { 1.0 };
        if sign > 0.0 {
            self.eat("+");
        }
        let Token::Number(seconds) = self.peek() else {
            return Err(self.unexpected("timestamp", "@"));
        };
        let millis = (sign * seconds * 1000.0).round();
        if !(-9.2e18..9.2e18).contains(&millis) {
            return Err(error_at(span, "timestamp out of bounds for @ modifier"));
        }
        self.at += 1;
        Ok(At::Time(i64_from_f64(millis)))
    }

    // Durations.

    /// After `offset`: one operand, signed; arithmetic needs parentheses.
    fn offset(&mut self) -> Result<DurationExpr, ParseError> {
        let negative = matches!(self.peek(), Token::Symbol("-"));
        if negative || matches!(self.peek(), Token::Symbol("+")) {
            self.at += 1;
            let inner = Box::new(self.duration_operand()?);
            return Ok(DurationExpr::Sign { negative, inner });
        }
        self.duration_operand()
    }

    fn duration(&mut self, tightness: u8) -> Result<DurationExpr, ParseError> {
        let depth = self.depth;
        self.descend()?;
        let mut left = self.duration_signed()?;
        while let Token::Symbol(symbol) = self.peek() {
            let op = match *symbol {
                "+" => BinaryOp::Add,
                "-" => BinaryOp::Sub,
                "*" => BinaryOp::Mul,
                "/" => BinaryOp::Div,
                "%" => BinaryOp::Mod,
                "^" => BinaryOp::Pow,
                _ => break,
            };
            if op.precedence() < tightness {
                break;
            }
            self.descend()?;
            self.at += 1;
            let right = self.duration(if op == BinaryOp::Pow {
                op.precedence()
            } else {
                op.precedence() + 1
            })?;
            left = DurationExpr::Binary { op, left: Box::new(left), right: Box::new(right) };
        }
        self.depth = depth;
        Ok(left)
    }

    fn duration_signed(&mut self) -> Result<DurationExpr, ParseError> {
        let negative = matches!(self.peek(), Token::Symbol("-"));
        if negative || matches!(self.peek(), Token::Symbol("+")) {
            self.at += 1;
            let inner = Box::new(self.duration(BinaryOp::Pow.precedence())?);
            return Ok(DurationExpr::Sign { negative, inner });
        }
        self.duration_operand()
    }

    fn duration_operand(&mut self) -> Result<DurationExpr, ParseError> {
        match self.peek().clone() {
            Token::Number(seconds) => {
                self.at += 1;
                if !seconds.is_finite() || seconds.abs() > 9.2e15 {
                    return Err(self.error_here("duration out of range"));
                }
                Ok(DurationExpr::Seconds(seconds))
            }
            Token::Symbol("(") => {
                self.at += 1;
                let inner = self.duration(0)?;
                self.expect(")", "duration expression")?;
                Ok(DurationExpr::Paren(Box::new(inner)))
            }
            Token::Word(word) => self.duration_call(&word.to_ascii_lowercase()),
            _ => Err(self.unexpected("number or duration", "duration expression")),
        }
    }

    fn duration_call(&mut self, word: &str) -> Result<DurationExpr, ParseError> {
        if !matches!(word, "step" | "range" | "min_of" | "max_of" | "min" | "max") {
            return Err(self.unexpected("number, duration, step() or range()", "duration"));
        }
        self.at += 1;
        self.expect("(", "duration expression")?;
        if matches!(word, "step" | "range") {
            self.expect(")", "duration expression")?;
            return Ok(if word == "step" { DurationExpr::Step } else { DurationExpr::Range });
        }
        let left = Box::new(self.duration(0)?);
        self.expect(",", "duration expression")?;
        let right = Box::new(self.duration(0)?);
        self.expect(")", "duration expression")?;
        Ok(match word {
            "min_of" | "min" => DurationExpr::Smaller(left, right),
            _ => DurationExpr::Larger(left, right),
        })
    }
}

fn shift_of<'a>(expr: &'a mut Expr, modifier: &str) -> Result<&'a mut Shift, ParseError> {
    let span = expr.span;
    match &mut expr.kind {
        Kind::Selector(selector) | Kind::Window { selector, .. } => Ok(&mut selector.shift),
        Kind::Subquery { shift, .. } => Ok(shift),
        _ => {
            let message = format!(
                "{modifier} modifier must be preceded by an instant vector selector or range \
                 vector selector or a subquery"
            );
            Err(error_at(span, message))
        }
    }
}

fn set_edges(expr: &mut Expr, edges: Edges) -> Result<(), ParseError> {
    let (span, word) = (expr.span, edges.word());
    match &mut expr.kind {
        Kind::Selector(_) if edges == Edges::Anchored => {
            Err(error_at(span, "anchored modifier can only be used on a range vector selector"))
        }
        Kind::Selector(selector) | Kind::Window { selector, .. } => {
            if selector.edges != Edges::Within && selector.edges != edges {
                let message = "anchored and smoothed modifiers cannot be used together";
                return Err(error_at(span, message));
            }
            selector.edges = edges;
            Ok(())
        }
        Kind::Subquery { .. } => {
            Err(error_at(span, format!("{word} modifier is not supported for subqueries")))
        }
        _ => Err(error_at(
            span,
            format!(
                "{word} modifier must be preceded by a vector selector or range vector selector"
            ),
        )),
    }
}
