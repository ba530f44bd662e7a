# Prints each word of a text on a line of its own, in small letters. "They'll" and "daisy-chain" are one word each.
{
    text = tolower($0)
    gsub(/--/, " ", text)
    gsub(/[^a-z'-]/, " ", text)
    words = split(text, word, " ")
    for (i = 1; i <= words; i++) {
        gsub(/^['-]+|['-]+$/, "", word[i])
        if (word[i] != "") print word[i]
    }
}
