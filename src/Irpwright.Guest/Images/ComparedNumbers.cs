using System.Collections.Immutable;
using Iced.Intel;

namespace Irpwright.Guest.Images;

/// <summary>Small numbers that the code of an image compares with: sizes of its structures and limits of its buffers are among them.</summary>
public static class ComparedNumbers
{
    /// <summary>Finds the numbers from 1 to <paramref name="highest"/>, ascending.</summary>
    public static ImmutableArray<uint> Of(PortableExecutable image, uint highest)
    {
        var found = new SortedSet<uint>();
        foreach (RuntimeFunction function in image.Functions)
        {
            if (!image.Contents.Span.TrySlice(function.BeginAddress, function.EndAddress - function.BeginAddress, out ReadOnlySpan<byte> code)) continue;
            var decoder = Decoder.Create(64, new ByteArrayCodeReader(code.ToArray()), function.BeginAddress);
            while (decoder.IP < function.EndAddress)
            {
                decoder.Decode(out Instruction instruction);
                if (instruction.Mnemonic != Mnemonic.Cmp || !IsNumber(instruction.Op1Kind)) continue;
                ulong number = instruction.GetImmediate(1);
                if (number > 0 && number <= highest) found.Add((uint)number);
            }
        }
        return [.. found];
    }

    // Bytes are characters and flags more often than lengths.
    static bool IsNumber(OpKind kind) =>
        kind is OpKind.Immediate32 or OpKind.Immediate32to64 or OpKind.Immediate8to32 or OpKind.Immediate8to64;
}
