// The C ABI of the Rust library in rust/: Hugging Face tokenizers and Jinja
// chat templates. Nothing here throws, unwinds or aborts on bad input. Every
// call is thread safe; a handle may be used by several threads at once, but
// not while it is being freed.
//
// A call returns an absl::StatusCode and always sets *out: the result on OK,
// else the error's text in UTF-8. The caller frees it:
//
//   RustBuffer out;
//   int code = dissonance_tokenizer_piece(tokenizer, 7, &out);
//   Use(code, out.data, out.size);
//   dissonance_text_free_buffer(out);
//
// See rust_call.h for the wrapper that the rest of this folder uses.
#ifndef DISSONANCE_COMPUTE_TEXT_RUST_ABI_H_
#define DISSONANCE_COMPUTE_TEXT_RUST_ABI_H_

#include <cstddef>
#include <cstdint>

namespace dissonance {

extern "C" {

// Bytes owned by the Rust library.
struct RustBuffer {
  char* data;
  size_t size;
};

struct RustTokenizer;
struct RustTemplate;

void dissonance_text_free_buffer(RustBuffer buffer);

// `json` is tokenizer.json; `options` is a JSON object {added_tokens,
// required_tokens, split_special_tokens, pipeline}: see Options in
// rust/src/tokenizer.rs. Result: empty; *handle is set.
int32_t dissonance_tokenizer_new(const char* json, size_t json_size,
                                 const char* options, size_t options_size,
                                 RustTokenizer** handle, RustBuffer* out);
void dissonance_tokenizer_free(RustTokenizer* handle);

// Result: native int32 values, an id per token; with offsets (id, begin, end)
// per token, in code points of `text`.
int32_t dissonance_tokenizer_encode(const RustTokenizer* handle,
                                    const char* text, size_t size,
                                    bool add_special_tokens, bool with_offsets,
                                    RustBuffer* out);

// Result: UTF-8 text.
int32_t dissonance_tokenizer_decode(const RustTokenizer* handle,
                                    const int32_t* ids, size_t count,
                                    bool skip_special_tokens, RustBuffer* out);

// Result: the vocabulary entry. NOT_FOUND if there is none.
int32_t dissonance_tokenizer_piece(const RustTokenizer* handle, int32_t id,
                                   RustBuffer* out);

// Result: a native int32. NOT_FOUND if no vocabulary entry is `piece`.
int32_t dissonance_tokenizer_token_id(const RustTokenizer* handle,
                                      const char* piece, size_t size,
                                      RustBuffer* out);

// Result: a native int32, added tokens included.
int32_t dissonance_tokenizer_vocab_size(const RustTokenizer* handle,
                                        RustBuffer* out);

// Compiles a template. Result: empty; *handle is set.
int32_t dissonance_template_new(const char* source, size_t size,
                                RustTemplate** handle, RustBuffer* out);
void dissonance_template_free(RustTemplate* handle);

// `context` is a JSON object, the template's variables. `now` is what
// strftime_now tells, in seconds since 1970, in UTC; null: the local time.
// Result: the text.
int32_t dissonance_template_render(const RustTemplate* handle,
                                   const char* context, size_t size,
                                   const int64_t* now, RustBuffer* out);

}  // extern "C"

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TEXT_RUST_ABI_H_
