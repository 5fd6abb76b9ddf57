using System.Text;
using System.Text.Json;

namespace Irpwright.Cli.Stacks;

/// <summary>A value of a JSON file that knows where it stands, so that a problem with it can be shown to its author.</summary>
sealed class JsonValue
{
    readonly string file;
    readonly int line;
    readonly string path;
    readonly List<(string Name, JsonValue Value)> members = [];
    readonly List<JsonValue> items = [];

    JsonValue(string file, int line, string path, JsonTokenType type, string text)
    {
        this.file = file;
        this.line = line;
        this.path = path;
        Type = type;
        Text = text;
    }

    /// <summary>StartObject, StartArray, String, Number, True, False or Null.</summary>
    public JsonTokenType Type { get; }

    /// <summary>Of a string its characters, of a number its digits.</summary>
    public string Text { get; }

    public IReadOnlyList<(string Name, JsonValue Value)> Members => members;

    public IReadOnlyList<JsonValue> Items => items;

    /// <summary>What is wrong with it, and what to write instead.</summary>
    public CommandException Wrong(string problem) => CommandException.BadInput(Located(problem));

    /// <summary>A message that says where this stands.</summary>
    public string Located(string problem) => $"{file}, line {line}, {path}: {problem}";

    /// <summary>Reads a file. Comments and commas at the end are allowed.</summary>
    /// <exception cref="CommandException">It cannot be read, or is no JSON; says where.</exception>
    public static JsonValue Read(string file)
    {
        byte[] text;
        try
        {
            text = File.ReadAllBytes(file);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw CommandException.BadInput($"{file}: no such file; check the path.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw CommandException.BadInput($"{file}: cannot be read: {e.Message}");
        }
        ReadOnlySpan<byte> json = text.AsSpan().StartsWith(Encoding.UTF8.Preamble) ? text.AsSpan(Encoding.UTF8.Preamble.Length) : text;
        try
        {
            var reader = new Utf8JsonReader(json, new JsonReaderOptions { AllowTrailingCommas = true, CommentHandling = JsonCommentHandling.Skip });
            reader.Read();
            JsonValue root = Read(ref reader, json, file, "$");
            reader.Read();
            return root;
        }
        catch (JsonException e)
        {
            string problem = e.Message.Split(" LineNumber:")[0];
            throw CommandException.BadInput($"{file}, line {e.LineNumber + 1}: is no JSON: {problem}");
        }
        catch (InvalidOperationException e)
        {
            throw CommandException.BadInput($"{file}: is no JSON: {e.Message}");
        }
    }

    static JsonValue Read(ref Utf8JsonReader reader, ReadOnlySpan<byte> json, string file, string path)
    {
        int line = json[..(int)reader.TokenStartIndex].Count((byte)'\n') + 1;
        string text = reader.TokenType switch
        {
            JsonTokenType.String => reader.GetString()!,
            JsonTokenType.Number => Encoding.UTF8.GetString(reader.ValueSpan),
            _ => "",
        };
        var value = new JsonValue(file, line, path, reader.TokenType, text);
        if (value.Type == JsonTokenType.StartArray)
        {
            while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
                value.items.Add(Read(ref reader, json, file, $"{path}[{value.items.Count}]"));
        }
        if (value.Type != JsonTokenType.StartObject) return value;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
        {
            string name = reader.GetString()!;
            reader.Read();
            JsonValue member = Read(ref reader, json, file, $"{path}.{name}");
            if (value.members.Exists(m => m.Name == name)) throw member.Wrong($"there is a '{name}' already.");
            value.members.Add((name, member));
        }
        return value;
    }

    // ---- What the author may write

    /// <param name="what">In a message: what is expected.</param>
    public string String(string what) => Type == JsonTokenType.String && Text.Length > 0 ? Text : throw Wrong($"write {what}, as a string.");

    public bool Boolean() => Type switch
    {
        JsonTokenType.True => true,
        JsonTokenType.False => false,
        _ => throw Wrong("write true or false."),
    };

    /// <summary>A number, or a string for one that JSON has no notation for: "0x1000", "4KiB".</summary>
    public long Number(long minimum, long maximum) =>
        Type is JsonTokenType.Number or JsonTokenType.String && RequestSpec.TryNumber(Text, out long value) && value >= minimum && value <= maximum
            ? value
            : throw Wrong($"write a number from {minimum} to {maximum}, as 4096, \"0x1000\" or \"4KiB\".");

    /// <summary>The elements of an array.</summary>
    /// <param name="what">In a message: what each is.</param>
    public IReadOnlyList<JsonValue> Array(string what) => Type == JsonTokenType.StartArray ? items : throw Wrong($"write an array of {what}, in [ ].");

    /// <summary>Takes an object apart.</summary>
    /// <param name="what">In a message: what it is.</param>
    /// <param name="known">What to do with each member that there may be.</param>
    public void Object(string what, params ReadOnlySpan<(string Name, Action<JsonValue> Take)> known)
    {
        if (Type != JsonTokenType.StartObject) throw Wrong($"write {what} as an object, in {{ }}.");
        foreach ((string name, JsonValue value) in members)
        {
            Action<JsonValue>? take = null;
            foreach ((string knownName, Action<JsonValue> knownTake) in known)
            {
                if (knownName == name) take = knownTake;
            }
            if (take is null)
            {
                var names = new List<string>();
                foreach ((string knownName, _) in known) names.Add(knownName);
                throw value.Wrong($"{what} has no '{name}'; there are {string.Join(", ", names)}.");
            }
            take(value);
        }
    }

    public JsonValue? Member(string name) => members.Find(m => m.Name == name).Value;
}
