//! How dictionaries cut a text, for who edits them.
//!
//! [`Cut::of`] is the entry point. It is made by the code that searches; what a search makes of it beyond the words, a
//! [`Trace`](crate::matching::trace::Trace) tells.

use super::Analyzer;
use crate::bank::Dictionaries;
use serde::Serialize;

/// One text and what dictionaries do to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// The text that exact matches are looked up by.
    pub normalized: String,
    /// Members of synonym classes in it, each with what is compared in its place.
    pub synonyms: Vec<(String, String)>,
    /// What is compared, piece by piece.
    pub pieces: Vec<String>,
    /// Pieces that are ignored among the words.
    pub stopwords: Vec<String>,
    /// The words a search goes by, those inside of others included.
    pub words: Vec<String>,
    /// Contrast groups of which the text names a member: the member, then the whole group as it is in the dictionary.
    pub contrasts: Vec<(String, Vec<String>)>,
}

impl Cut {
    /// As of a question that is asked. Takes as long as [`Analyzer::new`].
    pub fn of(text: &str, dictionaries: &Dictionaries) -> Self {
        let analyzer = Analyzer::new(dictionaries);
        let normalized = analyzer.normalize(text);
        let analysis = analyzer.analyze_normalized(&normalized);
        let tokens = |text: &str| -> Vec<String> {
            let tokens = analyzer.jieba.cut(text, false);
            tokens.into_iter().map(|token| token.word.to_owned()).collect()
        };
        let synonym = |word: String| {
            let first = analyzer.synonyms.get(&word)?.clone();
            Some((word, first))
        };
        let mut pieces = tokens(&analysis.text);
        pieces.retain(|piece| !piece.trim().is_empty());
        let is_stopword = |piece: &&String| analyzer.stopwords.contains(piece.as_str());
        let spans = analysis.word_spans.iter();
        let word = |&(start, end): &(u32, u32)| analysis.text[start as usize..end as usize].to_owned();
        let contrast = |contrasted| {
            let word = analyzer.contrast_word(contrasted)?.to_owned();
            let group = dictionaries.contrast.get(usize::from(contrasted.group))?.clone();
            Some((word, group))
        };
        Self {
            synonyms: tokens(&normalized).into_iter().filter_map(synonym).collect(),
            stopwords: pieces.iter().filter(is_stopword).cloned().collect(),
            words: spans.map(word).collect(),
            contrasts: analysis.contrasts.iter().copied().filter_map(contrast).collect(),
            pieces,
            normalized,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::dictionary::DictionaryTexts;

    #[test]
    fn every_dictionary_shows_in_what_it_does_to_a_text() {
        let dictionaries = Dictionaries::parse(DictionaryTexts {
            user: "蓝鲸权限".as_bytes(),
            stopwords: "的".as_bytes(),
            synonyms: "提现;取现".as_bytes(),
            contrast: "手机银行;网银".as_bytes(),
            sensitive: b"",
        });
        let text = "网银的蓝鲸权限能取现吗";
        let cut = Cut::of(text, &dictionaries.unwrap());
        assert_eq!(cut.synonyms, [("取现".to_owned(), "提现".to_owned())]);
        assert_eq!(cut.stopwords, ["的"]);
        assert!(cut.pieces.contains(&"蓝鲸权限".to_owned()), "{cut:?}");
        assert!(cut.words.contains(&"提现".to_owned()) && !cut.words.contains(&"的".to_owned()));
        let group = ["手机银行", "网银"].map(str::to_owned).to_vec();
        assert_eq!(cut.contrasts, [("网银".to_owned(), group)]);

        let without = Cut::of(text, &Dictionaries::default());
        assert!(!without.pieces.contains(&"蓝鲸权限".to_owned()), "{without:?}");
        assert!(without.synonyms.is_empty() && without.stopwords.is_empty() && without.contrasts.is_empty());
    }
}
