namespace Irpwright.Wdk;

/// <summary>A byte of guest memory that is true unless zero, like the WDK's <c>BOOLEAN</c>. Converts from and to <c>bool</c>.</summary>
public readonly struct BOOLEAN(byte value) : IEquatable<BOOLEAN>
{
    /// <summary>The byte as stored; drivers may store any nonzero value for true.</summary>
    public byte Value { get; } = value;

    public static implicit operator bool(BOOLEAN value) => value.Value != 0;

    public static implicit operator BOOLEAN(bool value) => new(value ? (byte)1 : (byte)0);

    public static bool operator ==(BOOLEAN left, BOOLEAN right) => (bool)left == (bool)right;

    public static bool operator !=(BOOLEAN left, BOOLEAN right) => (bool)left != (bool)right;

    public bool Equals(BOOLEAN other) => this == other;

    public override bool Equals(object? obj) => obj is BOOLEAN other && Equals(other);

    public override int GetHashCode() => ((bool)this).GetHashCode();

    public override string ToString() => this ? "TRUE" : "FALSE";
}
