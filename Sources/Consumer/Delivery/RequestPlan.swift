/// Which requests a set of elements makes: as few as fit, each halved when it is refused. A value.
///
/// So one element that can't be delivered is found in at most twice as many requests as halvings, and the others go on
/// without it.
struct RequestPlan<Element> {
    /// A stack: the next request is the last one.
    private var parts: [ArraySlice<Element>] = []

    /// Cuts the elements in order into requests of `maximumBytes` at most; a larger element is alone.
    init(_ elements: [Element], maximumBytes: Int, bytes: (Element) -> Int) {
        var (start, sum) = (elements.startIndex, 0)
        for index in elements.indices {
            let size = bytes(elements[index])
            if index > start, sum + size > maximumBytes {
                parts.append(elements[start..<index])
                (start, sum) = (index, 0)
            }
            sum += size
        }
        if start < elements.endIndex { parts.append(elements[start...]) }
        parts.reverse()
    }

    /// The elements of the next request; nil when there are none left.
    mutating func next() -> ArraySlice<Element>? {
        parts.popLast()
    }

    /// Notes that a request was refused; returns its element when that is alone, else its halves come next.
    mutating func refused(_ part: ArraySlice<Element>) -> Element? {
        guard part.count > 1 else { return part.first }
        let middle = part.startIndex + part.count / 2
        parts.append(part[middle...])
        parts.append(part[..<middle])
        return nil
    }
}
