//! A Hugging Face tokenizer, changed at load as the caller's options say.

use serde::Deserialize;
use tokenizers::{
    AddedToken, DecoderWrapper, Encoding, NormalizerWrapper,
    PreTokenizerWrapper, Tokenizer,
};

use crate::status::{utf8, Code, Failure, Result};

/// What the files beside tokenizer.json change in it.
#[derive(Deserialize)]
struct Options {
    /// Tokens that the tokenizer must have, with exactly these flags.
    added_tokens: Vec<AddedToken>,
    /// Tokens to add where no added token has their content.
    required_tokens: Vec<AddedToken>,
    /// Encode special tokens that stand in the text as ordinary text.
    split_special_tokens: bool,
    /// Replaces the normalizer (by none), pre-tokenizer and decoder.
    pipeline: Option<Pipeline>,
}

#[derive(Deserialize)]
struct Pipeline {
    pre_tokenizer: PreTokenizerWrapper,
    decoder: DecoderWrapper,
}

pub struct TextTokenizer {
    tokenizer: Tokenizer,
}

fn library_error(error: tokenizers::Error) -> Failure {
    Failure::invalid(error.to_string())
}

fn token_id(id: u32) -> Result<i32> {
    i32::try_from(id).map_err(|_| {
        Failure::invalid(format!("token id {id} is above 2^31 - 1"))
    })
}

fn append(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_ne_bytes());
}

impl TextTokenizer {
    pub fn new(json: &[u8], options: &[u8]) -> Result<TextTokenizer> {
        let options: Options =
            serde_json::from_slice(options).map_err(|error| {
                Failure::invalid(format!("tokenizer options: {error}"))
            })?;
        let mut tokenizer =
            Tokenizer::from_bytes(json).map_err(library_error)?;
        if let Some(pipeline) = options.pipeline {
            tokenizer
                .with_normalizer(None::<NormalizerWrapper>)
                .map_err(library_error)?;
            tokenizer.with_pre_tokenizer(Some(pipeline.pre_tokenizer));
            tokenizer.with_decoder(Some(pipeline.decoder));
        }
        // A file may carry the truncation and padding of its last use;
        // nothing here may shorten or lengthen a text.
        tokenizer.with_truncation(None).map_err(library_error)?;
        tokenizer.with_padding(None);
        tokenizer.set_encode_special_tokens(options.split_special_tokens);
        let mut known = tokenizer.get_added_vocabulary().get_vocab().clone();
        known.extend(
            options.added_tokens.iter().map(|token| (token.content.clone(), 0)),
        );
        let mut tokens = options.added_tokens;
        for token in options.required_tokens {
            if known.insert(token.content.clone(), 0).is_none() {
                tokens.push(token);
            }
        }
        tokenizer.add_tokens(tokens).map_err(library_error)?;
        Ok(TextTokenizer { tokenizer })
    }

    /// Native-endian i32: one id per token, or (id, begin, end) with offsets.
    pub fn encode(
        &self,
        text: &[u8],
        add_special_tokens: bool,
        with_offsets: bool,
    ) -> Result<Vec<u8>> {
        let text = utf8(text, "text")?;
        let encoding: Encoding = if with_offsets {
            self.tokenizer.encode_char_offsets(text, add_special_tokens)
        } else {
            self.tokenizer.encode_fast(text, add_special_tokens)
        }
        .map_err(library_error)?;
        let mut out = Vec::with_capacity(encoding.len() * 4);
        for (i, id) in encoding.get_ids().iter().enumerate() {
            append(&mut out, token_id(*id)?);
            if with_offsets {
                let (begin, end) = encoding.get_offsets()[i];
                append(&mut out, begin as i32);
                append(&mut out, end as i32);
            }
        }
        Ok(out)
    }

    /// Ids without a vocabulary entry add nothing to the text.
    pub fn decode(
        &self,
        ids: &[i32],
        skip_special_tokens: bool,
    ) -> Result<Vec<u8>> {
        let ids = ids
            .iter()
            .map(|&id| {
                u32::try_from(id).map_err(|_| {
                    Failure::invalid(format!("token id {id} is negative"))
                })
            })
            .collect::<Result<Vec<u32>>>()?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let text = self
            .tokenizer
            .decode(&ids, skip_special_tokens)
            .map_err(library_error)?;
        Ok(text.into_bytes())
    }

    pub fn piece(&self, id: i32) -> Result<Vec<u8>> {
        u32::try_from(id)
            .ok()
            .and_then(|id| self.tokenizer.id_to_token(id))
            .map(String::into_bytes)
            .ok_or_else(|| {
                Failure::new(Code::NotFound, format!("no token has id {id}"))
            })
    }

    pub fn token_id(&self, piece: &[u8]) -> Result<Vec<u8>> {
        let piece = utf8(piece, "token")?;
        let id = self.tokenizer.token_to_id(piece).ok_or_else(|| {
            Failure::new(Code::NotFound, format!("no token is '{piece}'"))
        })?;
        Ok(token_id(id)?.to_ne_bytes().to_vec())
    }

    pub fn vocab_size(&self) -> Result<Vec<u8>> {
        let size = self.tokenizer.get_vocab_size(true);
        let size = i32::try_from(size).map_err(|_| {
            Failure::invalid(format!("{size} vocabulary entries are too many"))
        })?;
        Ok(size.to_ne_bytes().to_vec())
    }
}
