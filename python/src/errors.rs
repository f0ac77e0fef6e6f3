//! Errors become exceptions: the class of the kind, with message, hint, causes and place.
//!
//! The classes are defined in Python (`mpimg/errors.py`), so that they can be read and pickled.

use mpimg::Error;
use pyo3::prelude::*;

/// The exception for `error`.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let make = || -> PyResult<PyErr> {
        let snippet = error.snippet().map(|at| (&at.file, at.line, at.column, at.length, &at.text));
        let arguments = (error.kind().name(), error.to_string(), error.hint(), error.causes(), snippet);
        let exception = py.import("mpimg.errors")?.getattr("_exception")?.call1(arguments)?;
        Ok(PyErr::from_value(exception))
    };
    make().unwrap_or_else(|failed| failed)
}
