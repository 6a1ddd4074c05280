import Foundation
import OrderDomain
import OrderMessages
import Testing

@Suite("Request bodies")
struct RequestTests {
    /// What was wrong, as `field: code`, in the order in which it is told.
    private func wrongs(_ parse: () throws -> Void) -> [String] {
        do {
            try parse()
            return []
        } catch let failure as ValidationFailure {
            #expect(failure.errors.allSatisfy { !$0.detail.isEmpty })
            return failure.errors.map { "\($0.field): \($0.code)" }
        } catch let malformed as MalformedBody {
            #expect(!malformed.detail.isEmpty)
            return ["malformed"]
        } catch {
            return ["unexpected \(error)"]
        }
    }

    private func user(_ body: String) -> [String] {
        wrongs { _ = try CreateUserRequest(parsing: Data(body.utf8)) }
    }

    private func charge(_ body: String) -> [String] {
        wrongs { _ = try ChargeRequest(parsing: Data(body.utf8)) }
    }

    private func product(_ body: String) -> [String] {
        wrongs { _ = try CreateProductRequest(parsing: Data(body.utf8)) }
    }

    private func order(_ body: String) -> [String] {
        wrongs { _ = try PlaceOrderRequest(parsing: Data(body.utf8)) }
    }

    private func order(items: String) -> [String] {
        order(#"{"userId":1,"items":\#(items)}"#)
    }

    // MARK: What is right

    @Test("a right body of each kind is read in full")
    func rightBodies() throws {
        let user = try CreateUserRequest(parsing: Data(#"{"name":"김미나 👩‍🚀","email":"mina@example.com"}"#.utf8))
        #expect(user.name == "김미나 👩‍🚀" && user.email == "mina@example.com")
        let charge = try ChargeRequest(parsing: Data(#" { "amount" : 1000000000 } "#.utf8))
        #expect(charge.amount == Money(minorUnits: 1_000_000_000))
        let full = #"{"name":"Tea","price":1,"stock":0,"description":"","category":"drinks"}"#
        let product = try CreateProductRequest(parsing: Data(full.utf8))
        #expect(product.name == "Tea" && product.price == Money(minorUnits: 1) && product.stock == 0)
        #expect(product.description == "" && product.category == "drinks")
        let short = #"{"name":"Tea","price":1,"stock":0,"description":null}"#
        let bare = try CreateProductRequest(parsing: Data(short.utf8))
        #expect(bare.description == nil && bare.category == nil)
        let order = try PlaceOrderRequest(
            parsing: Data(#"{"userId":9223372036854775807,"items":[{"productId":3,"quantity":1000}]}"#.utf8)
        )
        #expect(order.userID.rawValue == .max)
        #expect(order.lines.map(\.productID.rawValue) == [3] && order.lines.map(\.quantity.pieces) == [1_000])
    }

    @Test("lines of one product are summed at the place of the first")
    func duplicateLines() throws {
        let lines = [(5, 2), (3, 1), (5, 3), (9, 1), (3, 1_000), (5, 1)]
            .map { #"{"productId":\#($0.0),"quantity":\#($0.1)}"# }
            .joined(separator: ",")
        let request = try PlaceOrderRequest(parsing: Data(#"{"userId":1,"items":[\#(lines)]}"#.utf8))
        #expect(request.lines.map(\.productID.rawValue) == [5, 3, 9])
        #expect(request.lines.map(\.quantity.pieces) == [6, 1_001, 1])
    }

    @Test("fifty lines of 1,000 pieces of one product are 50,000 pieces")
    func largestBasket() throws {
        let lines = Array(repeating: #"{"productId":1,"quantity":1000}"#, count: 50).joined(separator: ",")
        let request = try PlaceOrderRequest(parsing: Data(#"{"userId":1,"items":[\#(lines)]}"#.utf8))
        #expect(request.lines.map(\.quantity.pieces) == [50_000])
    }

    // MARK: Bodies that cannot be read

    @Test(
        "what is no JSON is malformed",
        arguments: [
            "", " ", "{", #"{"amount":1"#, #"{"amount":1}}"#, "{'amount':1}", "{amount:1}", #"{"amount":01}"#,
            #"{"amount":+1}"#, #"{"amount":.5}"#, #"{"amount":NaN}"#, #"{"amount":1} x"#, #"{"amount":tru}"#,
            #"{"amount":"a\qb"}"#, #"{"amount":1,"amount":1}"#, "amount=1",
        ]
    )
    func notJSON(body: String) {
        #expect(charge(body) == ["malformed"])
    }

    @Test(
        "a half of a surrogate pair is malformed",
        arguments: [
            #"{"name":"\ud800","email":"a@b.c"}"#, #"{"name":"\udc00x","email":"a@b.c"}"#,
            #"{"name":"\ud800\ud800","email":"a@b.c"}"#, #"{"\ud800":1}"#,
        ]
    )
    func loneSurrogates(body: String) {
        #expect(user(body) == ["malformed"])
    }

    @Test("a whole surrogate pair is one character")
    func surrogatePair() throws {
        let body = #"{"name":"\ud83d\ude80","email":"a@b.c"}"#
        #expect(try CreateUserRequest(parsing: Data(body.utf8)).name == "🚀")
    }

    @Test(
        "bytes that are no UTF-8 are malformed, wherever they stand",
        arguments: [
            [0xFF], [0xC3, 0x28], [0xED, 0xA0, 0x80], [0xC0, 0xAF], [0xF5, 0x80, 0x80, 0x80], [0xE2, 0x82],
        ] as [[UInt8]]
    )
    func invalidUTF8(bytes: [UInt8]) {
        for (before, after) in [(#"{"name":"a"#, #"b","email":"a@b.c"}"#), (#"{"x"#, #"":1}"#), (#"{"name":"#, "}")] {
            let body = Data(before.utf8) + Data(bytes) + Data(after.utf8)
            #expect(wrongs { _ = try CreateUserRequest(parsing: body) } == ["malformed"])
        }
    }

    @Test("a body that is no object is told so", arguments: ["[]", "null", "1", #""text""#, "true", "[{}]"])
    func notAnObject(body: String) {
        #expect(charge(body) == ["body: wrong_type"])
        #expect(order(body) == ["body: wrong_type"])
    }

    @Test("10,000 levels of nesting are refused", arguments: ["[", #"{"a":"#])
    func deepNesting(opening: String) {
        let closing = opening == "[" ? "]" : "}"
        let nested = String(repeating: opening, count: 10_000) + "1" + String(repeating: closing, count: 10_000)
        #expect(charge(nested) == ["malformed"])
        #expect(charge(#"{"amount":\#(nested)}"#) == ["malformed"])
        #expect(charge(String(repeating: opening, count: 10_000)) == ["malformed"])
    }

    @Test("as much nesting as is read at all is still only a wrong type")
    func nestingWithinLimits() {
        let nested = String(repeating: "[", count: 63) + String(repeating: "]", count: 63)
        #expect(charge(#"{"amount":\#(nested)}"#) == ["amount: wrong_type"])
    }

    // MARK: Fields

    @Test("unknown fields are refused, by name and in order")
    func unknownFields() {
        #expect(charge(#"{"amount":1,"zeta":1,"alpha":null}"#) == ["alpha: unknown_field", "zeta: unknown_field"])
        #expect(charge(#"{"Amount":1}"#) == ["amount: required", "Amount: unknown_field"])
        #expect(
            order(items: #"[{"productId":1,"quantity":1},{"productId":1,"quantity":1,"price":5}]"#)
                == ["items[1].price: unknown_field"]
        )
    }

    @Test("a thousand unknown fields give twenty errors, with names cut short")
    func manyUnknownFields() throws {
        let names = (0..<1_000).map { #""\#(String(repeating: "x", count: 200))\#($0)":1"# }.joined(separator: ",")
        let body = #"{"amount":1,\#(names)}"#
        let failure = #expect(throws: ValidationFailure.self) { try ChargeRequest(parsing: Data(body.utf8)) }
        let errors = try #require(failure).errors
        #expect(errors.count == 20 && errors.allSatisfy { $0.field.count == 64 && $0.code == "unknown_field" })
    }

    @Test("names that only their marks tell apart are told in the order of their bytes, and the first ones only")
    func hostileUnknownFields() {
        let names = (100..<300).map { "a" + String(repeating: "\u{301}\u{316}", count: 60) + "\($0)" }
        let body = names.shuffled().map { #""\#($0)":1"# }.joined(separator: ",")
        let wrongs = order(#"{"userId":1,"items":[{"productId":1,"quantity":1}],\#(body)}"#)
        #expect(wrongs == names.prefix(20).map { "\($0): unknown_field" })
    }

    @Test("to find the first names each is compared a bounded number of times", arguments: [0, 1, 19, 20, 21, 10_000])
    func boundedSearch(count: Int) {
        // The last order has every number come in just before the last of the twenty.
        let worst = Array(0..<min(19, count)) + Array(min(19, count)..<count).reversed()
        for numbers in [Array(0..<count), (0..<count).reversed(), (0..<count).shuffled(), worst] {
            var comparisons = 0
            let smallest = numbers.smallest(20) { left, right in
                comparisons += 1
                return left < right
            }
            #expect(smallest == Array(0..<min(20, count)))
            #expect(comparisons <= count * 6, "\(comparisons) comparisons")
        }
    }

    @Test(
        "a whole number that is none",
        arguments: [
            ("0", "out_of_range"), ("-1", "out_of_range"), ("1000000001", "out_of_range"), ("1.5", "out_of_range"),
            ("1e30", "out_of_range"), ("-1e30", "out_of_range"), ("9223372036854775808", "out_of_range"),
            ("99999999999999999999999999", "out_of_range"), ("-9223372036854775809", "out_of_range"),
            ("-0", "out_of_range"), ("1e400", "out_of_range"), ("-1e400", "out_of_range"),
            ("0.0000001", "out_of_range"), ("1e-400", "out_of_range"), (#""1""#, "wrong_type"), ("true", "wrong_type"),
            ("false", "wrong_type"), ("[1]", "wrong_type"), ("{}", "wrong_type"), ("null", "required"),
        ]
    )
    func wrongIntegers(value: String, code: String) {
        #expect(charge(#"{"amount":\#(value)}"#) == ["amount: \(code)"])
    }

    @Test("a whole number may be written with a fraction or an exponent", arguments: ["5.0", "0.5e1", "5e0", "1e3"])
    func wholeNumbers(value: String) {
        #expect(charge(#"{"amount":\#(value)}"#) == [])
    }

    @Test(
        "the ends of every range",
        arguments: [
            ("price", "1", true), ("price", "0", false), ("price", "1000000000", true), ("price", "1000000001", false),
            ("stock", "0", true), ("stock", "-1", false), ("stock", "1000000000", true), ("stock", "1000000001", false),
        ]
    )
    func productRanges(field: String, value: String, fits: Bool) {
        let numbers = ["price": "1", "stock": "1"].merging([field: value]) { $1 }
        let body = #"{"name":"a","price":\#(numbers["price", default: ""]),"stock":\#(numbers["stock", default: ""])}"#
        #expect(product(body) == (fits ? [] : ["\(field): out_of_range"]))
    }

    @Test(
        "a text that is none",
        arguments: [
            ("1", "wrong_type"), ("[]", "wrong_type"), ("true", "wrong_type"), ("null", "required"),
            (#""""#, "too_short"),
            (#""a\u0000b""#, "invalid"), (#""a\nb""#, "invalid"), (#""\u001b[31m""#, "invalid"),
            (#""\u007f""#, "invalid"), (#""\u0085""#, "invalid"),
        ]
    )
    func wrongTexts(value: String, code: String) {
        #expect(user(#"{"name":\#(value),"email":"a@b.c"}"#) == ["name: \(code)"])
        #expect(product(#"{"name":\#(value),"price":1,"stock":1}"#) == ["name: \(code)"])
        if code != "required" {
            #expect(product(#"{"name":"a","price":1,"stock":1,"category":\#(value)}"#) == ["category: \(code)"])
        }
    }

    @Test("a text's length is counted in Unicode scalars, to the last one")
    func textLengths() {
        for (count, code) in [(200, nil), (201, "too_long")] {
            let name = String(repeating: "뷁", count: count)
            #expect(user(#"{"name":"\#(name)","email":"a@b.c"}"#) == (code.map { ["name: \($0)"] } ?? []))
        }
        // One character to the eye, 201 scalars to the database.
        let stacked = "e" + String(repeating: "\u{301}", count: 200)
        #expect(user(#"{"name":"\#(stacked)","email":"a@b.c"}"#) == ["name: too_long"])
        let address = String(repeating: "a", count: 250) + "@b.c"
        #expect(user(#"{"name":"a","email":"\#(address)"}"#) == [])
        #expect(user(#"{"name":"a","email":"a\#(address)"}"#) == ["email: too_long"])
        for (count, code) in [(5_000, nil), (5_001, "too_long")] {
            let body = #"{"name":"a","price":1,"stock":1,"description":"\#(String(repeating: "x", count: count))"}"#
            #expect(product(body) == (code.map { ["description: \($0)"] } ?? []))
        }
    }

    @Test(
        "an address has one @ with something on both sides and no space",
        arguments: [
            "abc", "ab@", "@b.c", "a@b@c", "a b@c.d", "a@b c", "a@@b", "@@@", " a@b.c", "a@b.c\u{A0}", "a@\u{301}b",
        ]
    )
    func wrongAddresses(address: String) {
        #expect(user(#"{"name":"a","email":"\#(address)"}"#) == ["email: invalid"])
    }

    // MARK: Lists

    @Test(
        "the list of lines",
        arguments: [
            ("null", ["items: required"]), ("{}", ["items: wrong_type"]), (#""x""#, ["items: wrong_type"]),
            ("[]", ["items: out_of_range"]),
            ("[1]", ["items[0]: wrong_type"]),
            (#"[{"productId":1,"quantity":1},null,[]]"#, ["items[1]: wrong_type", "items[2]: wrong_type"]),
            ("[{}]", ["items[0].productId: required", "items[0].quantity: required"]),
        ]
    )
    func wrongLists(items: String, errors: [String]) {
        #expect(order(items: items) == errors)
    }

    @Test(
        "a line's quantity is 1 to 1,000, its product positive; the error names the line",
        arguments: [
            ("0", "out_of_range"), ("1001", "out_of_range"), ("-1", "out_of_range"), ("1.5", "out_of_range"),
            (#""1""#, "wrong_type"), ("null", "required"),
        ]
    )
    func wrongLines(value: String, code: String) {
        let good = #"{"productId":1,"quantity":1}"#
        #expect(
            order(items: #"[\#(good),\#(good),{"productId":1,"quantity":\#(value)}]"#)
                == ["items[2].quantity: \(code)"]
        )
        if value != "1001" {
            #expect(
                order(items: #"[\#(good),{"productId":\#(value),"quantity":1}]"#) == ["items[1].productId: \(code)"]
            )
        }
    }

    @Test("fifty lines are enough")
    func tooManyLines() {
        for count in [51, 5_000] {
            let lines = Array(repeating: #"{"productId":1,"quantity":1}"#, count: count).joined(separator: ",")
            #expect(order(items: "[\(lines)]") == ["items: out_of_range"])
        }
        let numbers = Array(repeating: "1", count: 20_000).joined(separator: ",")
        #expect(order(items: "[\(numbers)]") == ["items: out_of_range"])
    }

    @Test("everything that is wrong is told at once")
    func severalErrors() {
        #expect(
            order(#"{"userId":0,"items":[{"productId":"x","quantity":0,"note":1},{"productId":1}],"coupon":"y"}"#)
                == [
                    "userId: out_of_range", "items[0].productId: wrong_type", "items[0].quantity: out_of_range",
                    "items[0].note: unknown_field", "items[1].quantity: required", "coupon: unknown_field",
                ]
        )
        #expect(user(#"{"name":"","email":"nobody"}"#) == ["name: too_short", "email: invalid"])
        #expect(user("{}") == ["name: required", "email: required"])
        #expect(product("{}") == ["name: required", "price: required", "stock: required"])
        #expect(
            product(#"{"name":1,"price":0,"stock":-1,"description":2,"category":""}"#)
                == [
                    "name: wrong_type", "price: out_of_range", "stock: out_of_range", "description: wrong_type",
                    "category: too_short",
                ]
        )
    }
}
