//! A scenario as a tree of TOML: what shrinking and writing go over without knowing each field.

use std::fmt;

use toml::{Table, Value};

/// One step down the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a table.
    Key(String),
    /// Into an array.
    Index(usize),
}

/// A place in the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place(pub Vec<Step>);

/// The keys alone, with dots between them: `faults.at` for the time of any fault.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        f.write_str(&keys.collect::<Vec<_>>().join("."))
    }
}

impl Place {
    fn child(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

/// Every place below the root, what is above before what is within.
#[must_use]
pub fn places(table: &Table) -> Vec<Place> {
    let mut places = Vec::new();
    within_table(table, &Place::default(), &mut places);
    places
}

fn within_table(table: &Table, at: &Place, places: &mut Vec<Place>) {
    for (key, value) in table {
        let place = at.child(Step::Key(key.clone()));
        places.push(place.clone());
        within(value, &place, places);
    }
}

fn within(value: &Value, at: &Place, places: &mut Vec<Place>) {
    match value {
        Value::Table(table) => within_table(table, at, places),
        Value::Array(array) => {
            for (index, value) in array.iter().enumerate() {
                let place = at.child(Step::Index(index));
                places.push(place.clone());
                within(value, &place, places);
            }
        }
        _ => {}
    }
}

/// What stands at a place.
#[must_use]
pub fn get<'a>(table: &'a Table, place: &Place) -> Option<&'a Value> {
    let (first, rest) = place.0.split_first()?;
    let Step::Key(key) = first else { return None };
    rest.iter()
        .try_fold(table.get(key)?, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Index(index) => value.get(*index),
        })
}

/// Puts a value in the place of another.
pub fn set(table: &mut Table, place: &Place, value: Value) {
    if let Some(at) = get_mut(table, &place.0) {
        *at = value;
    }
}

/// Takes a value and its key away.
pub fn remove(table: &mut Table, place: &Place) {
    let Some((last, above)) = place.0.split_last() else {
        return;
    };
    match (last, above.is_empty()) {
        (Step::Key(key), true) => {
            table.remove(key);
        }
        (Step::Key(key), false) => {
            if let Some(Value::Table(table)) = get_mut(table, above) {
                table.remove(key);
            }
        }
        (Step::Index(index), _) => {
            if let Some(Value::Array(array)) = get_mut(table, above)
                && *index < array.len()
            {
                array.remove(*index);
            }
        }
    }
}

fn get_mut<'a>(table: &'a mut Table, steps: &[Step]) -> Option<&'a mut Value> {
    let (first, rest) = steps.split_first()?;
    let Step::Key(key) = first else { return None };
    rest.iter()
        .try_fold(table.get_mut(key)?, |value, step| match step {
            Step::Key(key) => value.get_mut(key),
            Step::Index(index) => value.get_mut(*index),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_within_an_array_of_tables_is_found_set_and_removed() {
        let mut table: Table = "[[a]]\nb = 1\n[[a]]\nb = 2\nc = 3\n".parse().unwrap();
        let place = places(&table)
            .into_iter()
            .rfind(|place| place.to_string() == "a.b")
            .unwrap();
        assert_eq!(get(&table, &place), Some(&Value::Integer(2)));
        set(&mut table, &place, Value::Integer(9));
        assert_eq!(get(&table, &place), Some(&Value::Integer(9)));
        remove(&mut table, &place);
        assert_eq!(table, "[[a]]\nb = 1\n[[a]]\nc = 3\n".parse().unwrap());
    }
}
