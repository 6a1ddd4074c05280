import Foundation
import Testing

/// A JSON text in one spelling (keys sorted, no spaces), so that two texts of the same value are equal.
///
/// It goes through Foundation's older parser, not the decoder that the code under test uses.
func canonical(_ json: String) throws -> String {
    let value = try JSONSerialization.jsonObject(with: Data(json.utf8), options: .fragmentsAllowed)
    let bytes = try JSONSerialization.data(withJSONObject: value, options: [.sortedKeys, .fragmentsAllowed])
    return try #require(String(bytes: bytes, encoding: .utf8))
}
