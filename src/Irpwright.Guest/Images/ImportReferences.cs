using Iced.Intel;

namespace Irpwright.Guest.Images;

/// <summary>
/// Finds the code that uses imports: instructions whose operand is a slot of the import address table, and calls of the little
/// jumps through a slot that some linkers make.
/// </summary>
/// <remarks>Decodes without following control flow, so data between code may hide, or rarely invent, a place.</remarks>
static class ImportReferences
{
    /// <returns>By RVA of the slot: RVAs of the instructions, ascending.</returns>
    public static ILookup<uint, uint> Find(PortableExecutable image)
    {
        HashSet<uint> slots = [.. image.Imports.Select(import => import.AddressRva)];
        var uses = new List<(uint Slot, uint At)>();
        var calls = new List<(uint Target, uint At)>();
        var jumps = new Dictionary<uint, uint>();
        foreach (ImageSection section in image.Sections)
        {
            if (!section.IsExecutable) continue;
            // Decoding starts afresh at each function, so that data between them spoils at most one.
            uint start = section.VirtualAddress, end = section.VirtualAddress + Math.Min(section.VirtualSize, section.SizeOfRawData);
            foreach (RuntimeFunction function in image.Functions)
            {
                if (function.BeginAddress <= start || function.BeginAddress >= end) continue;
                Decode(start, function.BeginAddress);
                start = function.BeginAddress;
            }
            Decode(start, end);
        }
        uses.AddRange(from call in calls where jumps.ContainsKey(call.Target) select (jumps[call.Target], call.At));
        // A jump stands for its callers; linkers also make jumps that nobody calls.
        ILookup<uint, uint> places = uses.ToLookup(use => use.Slot, use => use.At);
        uses.RemoveAll(use => jumps.ContainsKey(use.At) && places[use.Slot].Any(other => !jumps.ContainsKey(other)));
        return uses.OrderBy(use => use.At).Distinct().ToLookup(use => use.Slot, use => use.At);

        void Decode(uint start, uint end)
        {
            if (!image.Contents.Span.TrySlice(start, end - start, out ReadOnlySpan<byte> code)) return;
            var decoder = Decoder.Create(64, new ByteArrayCodeReader(code.ToArray()), start);
            while (decoder.IP < end)
            {
                decoder.Decode(out Instruction instruction);
                uint at = (uint)instruction.IP;
                if (instruction.IsIPRelativeMemoryOperand && slots.Contains((uint)instruction.IPRelativeMemoryAddress))
                {
                    uses.Add(((uint)instruction.IPRelativeMemoryAddress, at));
                    if (instruction.IsJmpNearIndirect) jumps[at] = (uint)instruction.IPRelativeMemoryAddress;
                }
                else if (instruction.IsCallNear || instruction.IsJmpNear)
                {
                    calls.Add(((uint)instruction.NearBranchTarget, at));
                }
            }
        }
    }
}
