namespace Irpwright.Wdk;

/// <summary>An entry of a handle table: a number, not an address.</summary>
public readonly struct HANDLE(ulong value) : IEquatable<HANDLE>
{
    public ulong Value { get; } = value;

    public bool IsNull => Value == 0;

    public static explicit operator HANDLE(ulong value) => new(value);

    public static explicit operator ulong(HANDLE handle) => handle.Value;

    public static bool operator ==(HANDLE left, HANDLE right) => left.Value == right.Value;

    public static bool operator !=(HANDLE left, HANDLE right) => left.Value != right.Value;

    public bool Equals(HANDLE other) => Value == other.Value;

    public override bool Equals(object? obj) => obj is HANDLE other && Equals(other);

    public override int GetHashCode() => Value.GetHashCode();

    public override string ToString() => $"0x{Value:x}";
}
