//! JSON values, looked into and put together without being taken apart.
//!
//! [`Node`] walks a value with PostgreSQL's own iterator, one level at a time. [`Json::object`] makes an object of values
//! that exist: PostgreSQL's builders would take each of them apart and put it together again, token by token, while the
//! members of a `jsonb` object are stored as they are by themselves (see the opening comment of `jsonb.h`), so that
//! copying them is enough.

use pgrx::datum::FromDatum;
use pgrx::{direct_function_call, pg_sys};

use super::value::Json;

/// A value within a JSON document, which is alive as long as the call.
#[derive(Clone, Copy)]
pub struct Node(pg_sys::JsonbValue);

impl Json {
    /// The value, to be looked into.
    pub fn node(self) -> Node {
        let mut node = Node(pg_sys::JsonbValue::default());
        // SAFETY: the datum is a jsonb; JsonbToJsonbValue of a scalar would name the array around it.
        unsafe {
            let root = &raw mut (*self.detoasted()).root;
            if (*root).header & pg_sys::JB_FSCALAR == 0 {
                node.0.type_ = pg_sys::jbvType::jbvBinary;
                node.0.val.binary = pg_sys::JsonbValue__bindgen_ty_1__bindgen_ty_4 {
                    len: (pgrx::varsize_any(root.byte_sub(size_of::<i32>()).cast())
                        - size_of::<i32>()) as i32,
                    data: root,
                };
            } else {
                walk(root, |_, token, value| {
                    if token == pg_sys::JsonbIteratorToken::WJB_ELEM {
                        node = Node(value);
                    }
                });
            }
        }
        node
    }

    /// A number.
    pub fn number(number: i32) -> Self {
        let mut value = pg_sys::JsonbValue {
            type_: pg_sys::jbvType::jbvNumeric,
            ..Default::default()
        };
        // SAFETY: builds a value in the current memory context.
        unsafe {
            value.val.numeric = pg_sys::int64_to_numeric(number.into());
            Self(pg_sys::Datum::from(pg_sys::JsonbValueToJsonb(&mut value)))
        }
    }

    /// An object of these members, whose names differ; nothing when it would be larger than `jsonb` can be.
    pub fn object(mut members: Vec<(&str, Self)>) -> Option<Self> {
        members.sort_unstable_by_key(|(name, _)| (name.len(), *name));
        let parts: Vec<_> = (members.iter())
            .map(|(name, _)| Part::name(name))
            .chain(members.iter().map(|(_, value)| Part::value(*value)))
            .collect();

        let mut entries = Vec::with_capacity(parts.len());
        let mut end = 0;
        for (no, part) in parts.iter().enumerate() {
            let begin = end;
            end = part.begin_after(begin) + part.bytes.len();
            if end > pg_sys::JENTRY_OFFLENMASK as usize {
                return None;
            }
            // Now and then an entry says where its part ends instead of how long it is.
            let entry = if no.is_multiple_of(pg_sys::JB_OFFSET_STRIDE as usize) {
                pg_sys::JENTRY_HAS_OFF | end as u32
            } else {
                (end - begin) as u32
            };
            entries.push(part.kind | entry);
        }

        let header = pg_sys::JB_FOBJECT | members.len() as u32;
        let head = size_of::<i32>() + size_of::<u32>() * (1 + entries.len());
        // SAFETY: head and data are written in full, padding included, and no further.
        unsafe {
            let json = pg_sys::palloc0(head + end).cast::<u8>();
            pgrx::set_varsize_4b(json.cast(), (head + end) as i32);
            let words = json.cast::<u32>().add(1);
            words.write(header);
            words
                .add(1)
                .copy_from_nonoverlapping(entries.as_ptr(), entries.len());
            let data = json.add(head);
            let mut end = 0;
            for part in &parts {
                let begin = part.begin_after(end);
                data.add(begin)
                    .copy_from_nonoverlapping(part.bytes.as_ptr(), part.bytes.len());
                end = begin + part.bytes.len();
            }
            Some(Self(pg_sys::Datum::from(json)))
        }
    }

    fn detoasted(self) -> *mut pg_sys::Jsonb {
        // SAFETY: a jsonb is a varlena value; what is copied lives as long as the call.
        unsafe { pg_sys::pg_detoast_datum(self.0.cast_mut_ptr()).cast() }
    }
}

/// A name or a value of an object, as it is stored there.
struct Part<'a> {
    /// The type bits of its entry.
    kind: u32,
    bytes: &'a [u8],
}

impl<'a> Part<'a> {
    fn name(name: &'a str) -> Self {
        Self {
            kind: pg_sys::JENTRY_ISSTRING,
            bytes: name.as_bytes(),
        }
    }

    fn value(value: Json) -> Self {
        let json = value.detoasted();
        // SAFETY: a whole jsonb. A scalar by itself stands in an array of one, whose entry says what and how long it is.
        unsafe {
            let root = (&raw const (*json).root).cast::<u32>();
            let size = pgrx::varsize_any(json.cast()) - size_of::<i32>();
            if *root & pg_sys::JB_FSCALAR == 0 {
                return Self {
                    kind: pg_sys::JENTRY_ISCONTAINER,
                    bytes: std::slice::from_raw_parts(root.cast(), size),
                };
            }
            let entry = *root.add(1);
            Self {
                kind: entry & pg_sys::JENTRY_TYPEMASK,
                bytes: std::slice::from_raw_parts(
                    root.add(2).cast(),
                    (entry & pg_sys::JENTRY_OFFLENMASK) as usize,
                ),
            }
        }
    }

    /// Where it begins when what is before it ends there: numbers and containers are aligned.
    fn begin_after(&self, end: usize) -> usize {
        match self.kind {
            pg_sys::JENTRY_ISNUMERIC | pg_sys::JENTRY_ISCONTAINER => {
                end.next_multiple_of(size_of::<u32>())
            }
            _ => end,
        }
    }
}

impl Node {
    /// What it is, as `jsonb_typeof` says it.
    pub fn kind(&self) -> &'static str {
        match self.0.type_ {
            pg_sys::jbvType::jbvString => "string",
            pg_sys::jbvType::jbvNumeric => "number",
            pg_sys::jbvType::jbvBool => "boolean",
            pg_sys::jbvType::jbvBinary if self.header() & pg_sys::JB_FOBJECT != 0 => "object",
            pg_sys::jbvType::jbvBinary => "array",
            _ => "null",
        }
    }

    /// The text of a string, a number or a boolean.
    pub fn text(&self) -> Option<String> {
        // SAFETY: the type says which member of the union is set; numeric_out(numeric).
        unsafe {
            match self.0.type_ {
                pg_sys::jbvType::jbvString => {
                    let string = self.0.val.string;
                    let text = pg_sys::cstring_to_text_with_len(string.val, string.len);
                    String::from_datum(pg_sys::Datum::from(text), false)
                }
                pg_sys::jbvType::jbvNumeric => {
                    let number = pg_sys::Datum::from(self.0.val.numeric);
                    direct_function_call::<&std::ffi::CStr>(pg_sys::numeric_out, &[Some(number)])
                        .map(|text| text.to_string_lossy().into_owned())
                }
                pg_sys::jbvType::jbvBool => Some(self.0.val.boolean.to_string()),
                _ => None,
            }
        }
    }

    /// The value by itself.
    pub fn json(mut self) -> Json {
        // SAFETY: copies the value into the current memory context.
        let json = unsafe { pg_sys::JsonbValueToJsonb(&mut self.0) };
        Json(pg_sys::Datum::from(json))
    }

    /// The number of elements of an array, or of members of an object.
    pub fn len(&self) -> usize {
        (self.header() & pg_sys::JB_CMASK) as usize
    }

    /// The elements of an array.
    pub fn elements(&self) -> Vec<Self> {
        let mut elements = Vec::with_capacity(self.len());
        self.walk(|_, token, value| {
            if token == pg_sys::JsonbIteratorToken::WJB_ELEM {
                elements.push(Self(value));
            }
        });
        elements
    }

    /// Visits the members of an object, with their names.
    pub fn members(&self, mut visit: impl FnMut(&[u8], Self)) {
        self.walk(|name, token, value| {
            if token == pg_sys::JsonbIteratorToken::WJB_VALUE {
                visit(name, Self(value));
            }
        });
    }

    /// The header of a container; 0 for a scalar.
    fn header(&self) -> u32 {
        if self.0.type_ != pg_sys::jbvType::jbvBinary {
            return 0;
        }
        // SAFETY: a container of a jsonb that is alive.
        unsafe { (*self.0.val.binary.data).header }
    }

    fn walk(&self, visit: impl FnMut(&[u8], pg_sys::JsonbIteratorToken::Type, pg_sys::JsonbValue)) {
        if self.0.type_ == pg_sys::jbvType::jbvBinary {
            // SAFETY: as above.
            unsafe { walk(self.0.val.binary.data, visit) }
        }
    }
}

/// Visits what is in a container, and nothing inside that: the last name, the token and its value.
///
/// # Safety
///
/// The container is one of a jsonb that is alive.
unsafe fn walk(
    container: *mut pg_sys::JsonbContainer,
    mut visit: impl FnMut(&[u8], pg_sys::JsonbIteratorToken::Type, pg_sys::JsonbValue),
) {
    let mut name: &[u8] = &[];
    // SAFETY: names are as long as they say, and stay where they are.
    unsafe {
        let mut iterator = pg_sys::JsonbIteratorInit(container);
        loop {
            let mut value = pg_sys::JsonbValue::default();
            let token = pg_sys::JsonbIteratorNext(&mut iterator, &mut value, true);
            match token {
                pg_sys::JsonbIteratorToken::WJB_DONE => break,
                pg_sys::JsonbIteratorToken::WJB_KEY => {
                    let string = value.val.string;
                    name = std::slice::from_raw_parts(
                        string.val.cast(),
                        usize::try_from(string.len).unwrap_or(0),
                    );
                }
                token => visit(name, token, value),
            }
        }
    }
}
