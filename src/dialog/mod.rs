//! Conversation.
