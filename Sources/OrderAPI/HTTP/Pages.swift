import OrderMessages

extension ValidationFailure {
    /// A cursor that is none of this list's.
    static let cursor = ValidationFailure([
        FieldError(field: "cursor", code: "invalid", detail: "must be a nextCursor of this same list")
    ])
}

extension Array where Element: Sendable {
    /// Makes a page of a list that was read with one element more than the page takes: that one tells whether there
    /// is a next page.
    ///
    /// - Parameters:
    ///   - request: which page it is.
    ///   - position: where an element stands in the list.
    ///   - answer: an element as it is shown.
    func page<Answer: Encodable & Sendable>(
        _ request: PageRequest,
        position: (Element) -> [String],
        as answer: (Element) -> Answer
    ) -> ListAnswer<Answer> {
        let shown = prefix(request.limit)
        let next = count > request.limit ? shown.last.map { PageRequest.cursor(position($0)) } : nil
        return ListAnswer(shown.map(answer), nextCursor: next)
    }
}
