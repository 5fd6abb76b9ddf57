using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace Irpwright.Generators;

enum RegisterForm
{
    /// <summary>An integer or enum: truncated when read, zero-extended when written.</summary>
    Integer,
    /// <summary>bool or BOOLEAN: only the low byte counts.</summary>
    Boolean,
    /// <summary>A handle or code pointer: the 64 bits in it.</summary>
    Handle,
    /// <summary>A structure of 1, 2, 4 or 8 bytes (POWER_STATE): its bytes.</summary>
    Structure,
}

/// <summary>How a type travels in one general-purpose register or stack slot of the Microsoft x64 convention.</summary>
/// <param name="Type">The type as C# text.</param>
/// <param name="Bits">The unsigned integer type of the same width; for a handle, its property that holds the 64 bits.</param>
sealed record RegisterValue(RegisterForm Form, string Type, string Bits)
{
    const string Unsafe = "global::System.Runtime.CompilerServices.Unsafe";

    /// <summary>Null when the type does not travel in a general-purpose register.</summary>
    public static RegisterValue? Of(ITypeSymbol type)
    {
        string text = Types.Text(type);
        if (text is "bool" or "global::Irpwright.Wdk.BOOLEAN") return new(RegisterForm.Boolean, text, "byte");
        if (IntegerBits(type) is { } bits) return new(RegisterForm.Integer, text, bits);
        if (type is not INamedTypeSymbol { TypeKind: TypeKind.Struct, IsUnmanagedType: true, IsGenericType: false } structure) return null;
        if (HandleProperty(structure) is { } property) return new(RegisterForm.Handle, text, property);
        return StructureBits(structure) is { } structureBits ? new(RegisterForm.Structure, text, structureBits) : null;
    }

    /// <summary>Bytes.</summary>
    public int Size => Bits switch { "byte" => 1, "ushort" => 2, "uint" => 4, _ => 8 };

    /// <summary>C# text that makes the value from a register.</summary>
    /// <param name="register">A primary expression of type ulong.</param>
    public string Read(string register) => Form switch
    {
        RegisterForm.Integer when Type == "ulong" => register,
        RegisterForm.Integer => $"({Type}){register}",
        RegisterForm.Boolean => $"(byte){register} != 0",
        RegisterForm.Handle => $"new {Type}({register})",
        _ => $"{Unsafe}.BitCast<{Bits}, {Type}>(({Bits}){register})",
    };

    /// <summary>C# text of a ulong that holds the value.</summary>
    /// <param name="value">A primary expression of this type.</param>
    public string Write(string value) => Form switch
    {
        RegisterForm.Integer when Type == "ulong" => value,
        RegisterForm.Integer => $"({Bits}){value}",
        RegisterForm.Boolean => $"{value} ? 1UL : 0UL",
        RegisterForm.Handle => $"{value}.{Bits}",
        _ => $"{Unsafe}.BitCast<{Type}, {Bits}>({value})",
    };

    static string? IntegerBits(ITypeSymbol type) => type.SpecialType switch
    {
        SpecialType.System_Byte or SpecialType.System_SByte => "byte",
        SpecialType.System_Int16 or SpecialType.System_UInt16 or SpecialType.System_Char => "ushort",
        SpecialType.System_Int32 or SpecialType.System_UInt32 => "uint",
        SpecialType.System_Int64 or SpecialType.System_UInt64 or SpecialType.System_IntPtr or SpecialType.System_UIntPtr => "ulong",
        _ => type is INamedTypeSymbol { EnumUnderlyingType: { } underlying } ? IntegerBits(underlying) : null,
    };

    /// <summary>Of pointers and of HANDLE.</summary>
    static readonly string[] HandleProperties = ["Address", "Value"];

    /// <summary>Handles are known by their shape: a readonly struct made from 64 bits that gives them back.</summary>
    static string? HandleProperty(INamedTypeSymbol type)
    {
        bool isHandle = type.IsReadOnly && type.InstanceConstructors.Any(static c =>
            c is { DeclaredAccessibility: Accessibility.Public, Parameters.Length: 1 } && IsUInt64(c.Parameters[0].Type));
        if (!isHandle) return null;
        return HandleProperties.FirstOrDefault(name => type.GetMembers(name).Any(static m =>
            m is IPropertySymbol { DeclaredAccessibility: Accessibility.Public, RefKind: RefKind.None } p && IsUInt64(p.Type)));

        static bool IsUInt64(ITypeSymbol type) => type.SpecialType == SpecialType.System_UInt64;
    }

    /// <summary>A layout states its size as SizeOf; attributes of size are not visible in a referenced assembly.</summary>
    static string? StructureBits(INamedTypeSymbol type) =>
        type.GetMembers("SizeOf").OfType<IFieldSymbol>().FirstOrDefault()?.ConstantValue switch
        {
            1 => "byte",
            2 => "ushort",
            4 => "uint",
            8 => "ulong",
            _ => null,
        };
}

/// <summary>Types and names as C# text for generated code.</summary>
static class Types
{
    static readonly SymbolDisplayFormat Format = SymbolDisplayFormat.FullyQualifiedFormat.AddMiscellaneousOptions(
        SymbolDisplayMiscellaneousOptions.IncludeNullableReferenceTypeModifier);

    public const string AggressiveInlining =
        "[global::System.Runtime.CompilerServices.MethodImpl(global::System.Runtime.CompilerServices.MethodImplOptions.AggressiveInlining)]";

    public static string Text(ITypeSymbol type) => type.ToDisplayString(Format);

    /// <summary>A name, escaped where it is a keyword.</summary>
    public static string Identifier(string name) =>
        SyntaxFacts.GetKeywordKind(name) == SyntaxKind.None ? name : "@" + name;

    /// <summary>The T of a T? that is a value type, null for any other type.</summary>
    public static ITypeSymbol? NullableUnderlying(ITypeSymbol type) =>
        type.OriginalDefinition.SpecialType == SpecialType.System_Nullable_T ? ((INamedTypeSymbol)type).TypeArguments[0] : null;

    public static bool HasAttribute(ISymbol symbol, string fullName) =>
        symbol.GetAttributes().Any(a => a.AttributeClass?.ToDisplayString() == fullName);
}
