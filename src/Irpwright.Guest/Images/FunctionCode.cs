using System.Collections.Immutable;
using Iced.Intel;

namespace Irpwright.Guest.Images;

/// <summary>The code of an image, function by function, as far as its exception table tells.</summary>
public static class FunctionCode
{
    /// <summary>The instructions of a function, at RVAs, in a straight line; data between them is decoded too.</summary>
    internal static IEnumerable<Instruction> Decode(PortableExecutable image, RuntimeFunction function)
    {
        if (!image.Contents.Span.TrySlice(function.BeginAddress, function.EndAddress - function.BeginAddress, out ReadOnlySpan<byte> code)) yield break;
        var decoder = Decoder.Create(64, new ByteArrayCodeReader(code.ToArray()), function.BeginAddress);
        while (decoder.IP < function.EndAddress) yield return decoder.Decode();
    }

    /// <summary>
    /// RVAs where straight pieces of code begin: functions, what branches lead to, and what follows a conditional branch. What only a
    /// jump table leads to does not show.
    /// </summary>
    public static ImmutableArray<uint> Blocks(PortableExecutable image)
    {
        var found = new SortedSet<uint>();
        foreach (RuntimeFunction function in image.Functions)
        {
            found.Add(function.BeginAddress);
            foreach (Instruction instruction in Decode(image, function))
            {
                if (instruction.FlowControl is not (FlowControl.ConditionalBranch or FlowControl.UnconditionalBranch)) continue;
                if (instruction.FlowControl == FlowControl.ConditionalBranch) Add((uint)instruction.NextIP);
                Add((uint)instruction.NearBranchTarget);
            }

            void Add(uint rva)
            {
                if (function.Contains(rva)) found.Add(rva);
            }
        }
        return [.. found];
    }

    /// <summary>
    /// Numbers from 1 to <paramref name="highest"/> that the code compares with, ascending: sizes of structures and limits of buffers are
    /// among them.
    /// </summary>
    public static ImmutableArray<uint> ComparedNumbers(PortableExecutable image, uint highest)
    {
        var found = new SortedSet<uint>();
        foreach (Instruction instruction in image.Functions.SelectMany(function => Decode(image, function)))
        {
            if (instruction.Mnemonic != Mnemonic.Cmp || !IsNumber(instruction.Op1Kind)) continue;
            ulong number = instruction.GetImmediate(1);
            if (number > 0 && number <= highest) found.Add((uint)number);
        }
        return [.. found];
    }

    // Bytes are characters and flags more often than lengths.
    static bool IsNumber(OpKind kind) =>
        kind is OpKind.Immediate32 or OpKind.Immediate32to64 or OpKind.Immediate8to32 or OpKind.Immediate8to64;
}
