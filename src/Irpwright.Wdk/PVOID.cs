namespace Irpwright.Wdk;

/// <summary>A guest address of no stated type. Every pointer type converts to it implicitly, as in C.</summary>
public readonly struct PVOID(ulong address) : IEquatable<PVOID>
{
    public ulong Address { get; } = address;

    public bool IsNull => Address == 0;

    public static explicit operator PVOID(ulong address) => new(address);

    public static explicit operator ulong(PVOID pointer) => pointer.Address;

    public static bool operator ==(PVOID left, PVOID right) => left.Address == right.Address;

    public static bool operator !=(PVOID left, PVOID right) => left.Address != right.Address;

    public bool Equals(PVOID other) => Address == other.Address;

    public override bool Equals(object? obj) => obj is PVOID other && Equals(other);

    public override int GetHashCode() => Address.GetHashCode();

    public override string ToString() => Format(Address);

    /// <summary>An address as a Windows debugger prints it: <c>ffffa000`00012340</c>.</summary>
    public static string Format(ulong address) => $"{address >> 32:x8}`{(uint)address:x8}";
}
