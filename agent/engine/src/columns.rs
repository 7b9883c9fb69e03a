//! Columns of an Arrow batch by name, whatever width or encoding their writer chose. Knows nothing of requests.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int16Type, Int32Type, Int64Type, Int8Type, UInt16Type, UInt32Type, UInt64Type, UInt8Type};
use arrow_array::{Array, ArrayRef, LargeStringArray, ListArray, RecordBatch, StringArray, StringViewArray};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;

/// A stream that cannot be replayed: which column, which row, why.
pub type FeedError = String;

/// A text column.
pub enum Text<'a> {
    Plain(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
    Dictionary { keys: Vec<Option<usize>>, values: Box<Text<'a>> },
}

impl<'a> Text<'a> {
    fn of(name: &str, column: &'a ArrayRef) -> Result<Text<'a>, FeedError> {
        match column.data_type() {
            DataType::Utf8 => Ok(Text::Plain(column.as_string::<i32>())),
            DataType::LargeUtf8 => Ok(Text::Large(column.as_string::<i64>())),
            DataType::Utf8View => Ok(Text::View(column.as_string_view())),
            DataType::Dictionary(..) => {
                let any = column.as_any_dictionary();
                if any.values().is_empty() {
                    // normalized_keys() panics where there is nothing to point to: all rows are null.
                    return Ok(Text::Dictionary {
                        keys: vec![None; column.len()],
                        values: Box::new(Text::of(name, any.values())?),
                    });
                }
                let at = |(row, key)| (!column.is_null(row)).then_some(key);
                let keys = any.normalized_keys().into_iter().enumerate().map(at).collect();
                Ok(Text::Dictionary { keys, values: Box::new(Text::of(name, any.values())?) })
            }
            other => Err(format!("column {name}: type {other} cannot be read; expected text or a dictionary of text")),
        }
    }

    /// Place of a row's value in the dictionary, if there is one.
    pub fn key(&self, row: usize) -> Option<usize> {
        match self {
            Text::Dictionary { keys, .. } => keys[row],
            _ => None,
        }
    }

    pub fn get(&self, row: usize) -> Option<&'a str> {
        match self {
            Text::Plain(a) => (!a.is_null(row)).then(|| a.value(row)),
            Text::Large(a) => (!a.is_null(row)).then(|| a.value(row)),
            Text::View(a) => (!a.is_null(row)).then(|| a.value(row)),
            Text::Dictionary { keys, values } => keys[row].and_then(|key| values.get(key)),
        }
    }
}

/// A text column by name; None where there is none, or none with a value.
pub fn text<'a>(name: &str, batch: &'a RecordBatch) -> Result<Option<Text<'a>>, FeedError> {
    match batch.column_by_name(name) {
        Some(column) if column.data_type() != &DataType::Null && column.null_count() < column.len() => {
            Text::of(name, column).map(Some)
        }
        _ => Ok(None),
    }
}

/// An integer column read as u64, with negatives as zero; None where a row does not say.
pub struct Integers<'a> {
    values: Vec<u64>,
    nulls: Option<&'a NullBuffer>,
}

impl Integers<'_> {
    pub fn get(&self, row: usize) -> Option<u64> {
        let value = self.values.get(row)?;
        self.nulls.is_none_or(|nulls| nulls.is_valid(row)).then_some(*value)
    }

    pub fn or_zero(&self, row: usize) -> u64 {
        self.get(row).unwrap_or(0)
    }
}

/// An integer column of any width, by name.
pub fn integers<'a>(name: &str, batch: &'a RecordBatch) -> Result<Integers<'a>, FeedError> {
    let Some(column) = batch.column_by_name(name).filter(|c| c.data_type() != &DataType::Null) else {
        return Ok(Integers { values: Vec::new(), nulls: None });
    };
    macro_rules! read {
        ($kind:ty) => {
            column.as_primitive::<$kind>().values().iter().map(|v| u64::try_from(*v).unwrap_or(0)).collect()
        };
    }
    let values = match column.data_type() {
        DataType::Int64 => read!(Int64Type),
        DataType::Int32 => read!(Int32Type),
        DataType::Int16 => read!(Int16Type),
        DataType::Int8 => read!(Int8Type),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().values().to_vec(),
        DataType::UInt32 => read!(UInt32Type),
        DataType::UInt16 => read!(UInt16Type),
        DataType::UInt8 => read!(UInt8Type),
        other => return Err(format!("column {name}: type {other} cannot be read; expected an integer")),
    };
    Ok(Integers { values, nulls: column.nulls() })
}

/// A column of lists of uint64.
pub struct Lists<'a>(&'a ListArray);

impl Lists<'_> {
    /// Empty where a row does not say.
    pub fn get(&self, row: usize) -> Box<[u64]> {
        if self.0.is_null(row) {
            return Box::default();
        }
        self.0.value(row).as_primitive_opt::<UInt64Type>().map(|v| v.values().to_vec().into()).unwrap_or_default()
    }
}

/// A column of lists of uint64, by name; None where there is none.
pub fn lists<'a>(name: &str, batch: &'a RecordBatch) -> Result<Option<Lists<'a>>, FeedError> {
    match batch.column_by_name(name) {
        None => Ok(None),
        Some(column) if column.data_type() == &DataType::Null => Ok(None),
        Some(column) => match column.as_list_opt::<i32>() {
            Some(list) if list.value_type() == DataType::UInt64 => Ok(Some(Lists(list))),
            _ => Err(format!("column {name}: type {} cannot be read; expected a list of uint64", column.data_type())),
        },
    }
}
