//! Tokenizers and chat templates for C++, behind a C ABI that never unwinds:
//! every entry point catches panics and returns a status code. The C side of
//! these declarations, and their contract, is `rust_abi.h`.

mod bounded;
mod python;
mod status;
mod template;
mod tokenizer;

use std::panic::{catch_unwind, AssertUnwindSafe};

use crate::status::{Code, Failure, Result};
use crate::template::ChatTemplate;
use crate::tokenizer::TextTokenizer;

/// Bytes owned by this library: a result, or an error message.
#[repr(C)]
pub struct Buffer {
    data: *mut u8,
    size: usize,
}

impl Buffer {
    fn new(bytes: Vec<u8>) -> Buffer {
        let bytes = bytes.into_boxed_slice();
        let size = bytes.len();
        let data = Box::into_raw(bytes).cast::<u8>();
        Buffer { data, size }
    }
}

/// Runs `body` and puts its bytes, or its error message, into `out`.
fn guarded(out: *mut Buffer, body: impl FnOnce() -> Result<Vec<u8>>) -> i32 {
    let result =
        catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
            let what = bounded::panic_message(payload.as_ref());
            Err(Failure::new(
                Code::Internal,
                format!("text library panicked: {what}"),
            ))
        });
    let (code, bytes) = match result {
        Ok(bytes) => (Code::Ok, bytes),
        Err(failure) => (failure.code, failure.message.into_bytes()),
    };
    // SAFETY: the caller passes a valid place to write a Buffer to.
    unsafe { out.write(Buffer::new(bytes)) };
    code as i32
}

/// Like `guarded`, for a constructor: the object goes to `handle`.
fn guarded_new<T>(
    handle: *mut *mut T,
    out: *mut Buffer,
    body: impl FnOnce() -> Result<T>,
) -> i32 {
    guarded(out, || {
        let object = Box::into_raw(Box::new(body()?));
        // SAFETY: the caller passes a valid place to write a pointer to.
        unsafe { handle.write(object) };
        Ok(Vec::new())
    })
}

/// # Safety
/// `data` points to `size` readable elements that outlive the result.
unsafe fn slice<'a, T>(data: *const T, size: usize) -> &'a [T] {
    if size == 0 {
        return &[];
    }
    unsafe { std::slice::from_raw_parts(data, size) }
}

/// # Safety
/// As rust_abi.h says.
#[no_mangle]
pub unsafe extern "C" fn dissonance_text_free_buffer(buffer: Buffer) {
    if !buffer.data.is_null() {
        let bytes =
            std::ptr::slice_from_raw_parts_mut(buffer.data, buffer.size);
        drop(unsafe { Box::from_raw(bytes) });
    }
}

/// # Safety
/// As rust_abi.h says.
#[no_mangle]
pub unsafe extern "C" fn dissonance_tokenizer_new(
    json: *const u8,
    json_size: usize,
    options: *const u8,
    options_size: usize,
    handle: *mut *mut TextTokenizer,
    out: *mut Buffer,
) -> i32 {
    guarded_new(handle, out, || {
        let (json, options) =
            unsafe { (slice(json, json_size), slice(options, options_size)) };
        TextTokenizer::new(json, options)
    })
}

/// # Safety
/// As rust_abi.h says.
#[no_mangle]
pub unsafe extern "C" fn dissonance_tokenizer_free(handle: *mut TextTokenizer) {
    // A panic in a destructor leaks what is left of it.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        drop(unsafe { Box::from_raw(handle) })
    }));
}

/// # Safety
/// As rust_abi.h says.
#[no_mangle]
pub unsafe extern "C" fn dissonance_tokenizer_encode(
    handle: *const TextTokenizer,
    text: *const u8,
    size: usize,
    add_special_tokens: bool,
    with_offsets: bool,
    out: *mut Buffer,
) -> i32 {
    guarded(out, || unsafe {
        (*handle).encode(slice(text, size), add_special_tokens, with_offsets)
    })
}

/// # Safety
/// As rust_abi.h says.
#[no_mangle]
pub unsafe extern "C" fn dissonance_tokenizer_decode(
    handle: *const TextTokenizer,
    ids: *const i32,
    count: usize,
    skip_special_tokens: bool,
    out: *mut Buffer,
) -> i32 {
    guarded(out, || unsafe {
        (*handle).decode(slice(ids, count), skip_special_tokens)
    })
}

/// # Safety
/// As rust_abi.h says.
#[no_mangle]
pub unsafe extern "C" fn dissonance_tokenizer_piece(
    handle: *const TextTokenizer,
    id: i32,
    out: *mut Buffer,
) -> i32 {
    guarded(out, || unsafe { (*handle).piece(id) })
}

/// # Safety
/// As rust_abi.h says.
#[no_mangle]
pub unsafe extern "C" fn dissonance_tokenizer_token_id(
    handle: *const TextTokenizer,
    piece: *const u8,
    size: usize,
    out: *mut Buffer,
) -> i32 {
    guarded(out, || unsafe { (*handle).token_id(slice(piece, size)) })
}

/// # Safety
/// As rust_abi.h says.
#[no_mangle]
pub unsafe extern "C" fn dissonance_tokenizer_vocab_size(
    handle: *const TextTokenizer,
    out: *mut Buffer,
) -> i32 {
    guarded(out, || unsafe { (*handle).vocab_size() })
}

/// # Safety
/// As rust_abi.h says.
#[no_mangle]
pub unsafe extern "C" fn dissonance_template_new(
    source: *const u8,
    size: usize,
    handle: *mut *mut ChatTemplate,
    out: *mut Buffer,
) -> i32 {
    guarded_new(handle, out, || {
        ChatTemplate::new(unsafe { slice(source, size) })
    })
}

/// # Safety
/// As rust_abi.h says.
#[no_mangle]
pub unsafe extern "C" fn dissonance_template_free(handle: *mut ChatTemplate) {
    // A panic in a destructor leaks what is left of it.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        drop(unsafe { Box::from_raw(handle) })
    }));
}

/// # Safety
/// As rust_abi.h says.
#[no_mangle]
pub unsafe extern "C" fn dissonance_template_render(
    handle: *const ChatTemplate,
    context: *const u8,
    size: usize,
    now: *const i64,
    out: *mut Buffer,
) -> i32 {
    guarded(out, || unsafe {
        (*handle).render(slice(context, size), now.as_ref().copied())
    })
}
