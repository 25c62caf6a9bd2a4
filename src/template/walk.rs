//! Corrects a syntax tree and checks what gotmpl leaves to the run.
//!
//! A tree of gotmpl's parser comes in, the same tree goes out with calls in place of what gotmpl does
//! not know: methods, and members of labels. The parser bounds how deep a tree is (100), so recursion
//! is bounded.

use std::sync::Arc;

use gotmpl::parse::{BranchNode, CommandNode, Expr, ListNode, Node, PipeNode, Pos};

use super::{Call, Dialect, Error};

/// Name of the function that prints every action's value.
pub(crate) const SHOW: &str = "__show";
/// Name of the function that reads a label: of a map, by a name.
pub(crate) const LABEL: &str = "__label";
/// Name of the function that calls a method: its name, the value, the arguments.
pub(crate) const METHOD: &str = "__method";

/// Gives the templates that the list uses.
pub(super) fn correct(list: &mut ListNode, dialect: &Dialect) -> Result<Vec<Call>, Error> {
    let mut walk = Walk::new(dialect);
    walk.list(list)?;
    Ok(walk.calls)
}

struct Walk<'a> {
    dialect: &'a Dialect,
    /// Variables in scope, as Go's parser keeps them.
    variables: Vec<String>,
    calls: Vec<Call>,
}

impl<'a> Walk<'a> {
    /// A body sees only `$`, the whole input.
    fn new(dialect: &'a Dialect) -> Self {
        Self { dialect, variables: vec!["$".to_owned()], calls: Vec::new() }
    }

    /// What a list declares ends with it.
    fn list(&mut self, list: &mut ListNode) -> Result<(), Error> {
        let n_outer = self.variables.len();
        list.nodes.iter_mut().try_for_each(|node| self.node(node))?;
        self.variables.truncate(n_outer);
        Ok(())
    }

    fn node(&mut self, node: &mut Node) -> Result<(), Error> {
        match node {
            Node::List(list) => self.list(list),
            Node::Action(action) => {
                self.pipe(&mut action.pipe)?;
                if action.pipe.decl.is_empty() {
                    let args = vec![Expr::Identifier(action.pos, SHOW.into())];
                    action.pipe.commands.push(CommandNode { pos: action.pos, args });
                }
                Ok(())
            }
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => self.branch(branch),
            Node::Template(call) => {
                self.calls.push(Call { at: call.pos.offset, name: call.name.to_string() });
                call.pipe.as_mut().map_or(Ok(()), |pipe| self.pipe(pipe))
            }
            Node::Define(define) => {
                self.calls.extend(correct(&mut define.body, self.dialect)?);
                Ok(())
            }
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => Ok(()),
        }
    }

    fn branch(&mut self, branch: &mut BranchNode) -> Result<(), Error> {
        let n_outer = self.variables.len();
        self.pipe(&mut branch.pipe)?;
        self.list(&mut branch.body)?;
        branch.else_body.as_mut().map_or(Ok(()), |list| self.list(list))?;
        self.variables.truncate(n_outer);
        Ok(())
    }

    fn pipe(&mut self, pipe: &mut PipeNode) -> Result<(), Error> {
        for command in &mut pipe.commands {
            for expr in &mut command.args {
                self.check(expr)?;
            }
            self.command(command);
            for expr in &mut command.args {
                self.rewrite(expr);
            }
        }
        if !pipe.is_assign {
            self.variables.extend(pipe.decl.iter().map(ToString::to_string));
        }
        Ok(())
    }

    fn check(&mut self, expr: &mut Expr) -> Result<(), Error> {
        match expr {
            Expr::Identifier(pos, name) if !self.is_function(name) => {
                Err(Error { at: pos.offset, message: format!("there is no function `{name}`") })
            }
            Expr::Variable(pos, name, _) if !self.variables.iter().any(|held| *held == **name) => {
                Err(Error { at: pos.offset, message: format!("there is no variable `{name}`") })
            }
            Expr::Pipe(_, inner) => self.pipe(inner),
            Expr::Chain(_, inner, _) => self.check(inner),
            _ => Ok(()),
        }
    }

    fn is_function(&self, name: &str) -> bool {
        const OF_GO: [&str; 19] = [
            "and", "call", "html", "index", "slice", "js", "len", "not", "or", "print", "printf",
            "println", "urlquery", "eq", "ge", "gt", "le", "lt", "ne",
        ];
        OF_GO.contains(&name) || (self.dialect.knows)(name)
    }

    /// `.Labels.Remove x`: a method at the head of a command takes the command's arguments.
    fn command(&self, command: &mut CommandNode) {
        let Some(first) = command.args.first() else { return };
        let Some((root, mut names)) = chain(first) else { return };
        let is_method =
            names.last().is_some_and(|last| self.dialect.methods.contains(&last.as_str()));
        let Some(last) = names.pop().filter(|_| is_method) else { return };
        let pos = first.pos();
        let head = [
            Expr::Identifier(pos, METHOD.into()),
            Expr::String(pos, Arc::from(last.as_str())),
            with_names(root, &names),
        ];
        command.args.splice(..1, head);
    }

    /// Members of labels and methods within a chain of fields become calls.
    fn rewrite(&self, expr: &mut Expr) {
        let Some((root, names)) = chain(expr) else { return };
        let pos = expr.pos();
        let mut is_map = matches!(&root, Expr::Variable(_, name, _) if self.is_map(name));
        let (mut at, mut pending, mut is_changed) = (root, Vec::new(), false);
        for name in names {
            let text = Expr::String(pos, Arc::from(name.as_str()));
            if self.dialect.methods.contains(&name.as_str()) {
                let value = with_names(at, &pending);
                at = call(pos, vec![Expr::Identifier(pos, METHOD.into()), text, value]);
            } else if is_map {
                let value = with_names(at, &pending);
                at = call(pos, vec![Expr::Identifier(pos, LABEL.into()), value, text]);
            } else {
                is_map = self.is_map(&name);
                pending.push(name);
                continue;
            }
            pending.clear();
            (is_map, is_changed) = (false, true);
        }
        if is_changed {
            *expr = with_names(at, &pending);
        }
    }

    fn is_map(&self, name: &str) -> bool {
        self.dialect.maps.contains(&name)
    }
}

/// An expression as its beginning and the fields that are read of it, where it reads any.
fn chain(expr: &Expr) -> Option<(Expr, Vec<String>)> {
    fn names<T: ToString>(fields: &[T]) -> Vec<String> {
        fields.iter().map(ToString::to_string).collect()
    }
    match expr {
        Expr::Field(pos, fields) => Some((Expr::Dot(*pos), names(fields))),
        Expr::Variable(pos, variable, fields) if !fields.is_empty() => {
            Some((Expr::Variable(*pos, variable.clone(), Vec::new()), names(fields)))
        }
        Expr::Chain(_, inner, fields) => Some(((**inner).clone(), names(fields))),
        _ => None,
    }
}

/// The opposite of [`chain`].
fn with_names(root: Expr, names: &[String]) -> Expr {
    if names.is_empty() {
        return root;
    }
    let fields = names.iter().map(|name| name.as_str().into()).collect();
    match root {
        Expr::Dot(pos) => Expr::Field(pos, fields),
        Expr::Variable(pos, variable, _) => Expr::Variable(pos, variable, fields),
        other => Expr::Chain(other.pos(), Box::new(other), fields),
    }
}

fn call(pos: Pos, args: Vec<Expr>) -> Expr {
    let commands = vec![CommandNode { pos, args }];
    Expr::Pipe(pos, PipeNode { pos, decl: Vec::new(), commands, is_assign: false })
}
