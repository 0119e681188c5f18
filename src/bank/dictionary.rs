//! The operator's dictionaries: user words, stop words, synonyms, contrast groups, sensitive words.

/// The words the operator teaches the matcher. Built by parsing text files; see DESIGN for their form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dictionaries {
    /// `word [freq] [tag]` a line.
    pub user: Vec<UserWord>,
    /// One word a line.
    pub stopwords: Vec<String>,
    /// Classes of words that mean the same; each has at least two members.
    pub synonyms: Vec<Vec<String>>,
    /// Groups of words that must not be confused; each has at least two members.
    pub contrast: Vec<Vec<String>>,
    /// Words whose messages get the refusal reply.
    pub sensitive: Vec<String>,
}

/// A word jieba shall know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserWord {
    #[expect(missing_docs, reason = "the type says it")]
    pub word: String,
    /// At least 1; `None`: high enough to be cut as one word.
    pub frequency: Option<usize>,
    /// Part of speech, jieba's tags; `None`: unknown.
    pub tag: Option<String>,
}
