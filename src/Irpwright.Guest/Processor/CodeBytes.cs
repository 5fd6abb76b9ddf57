using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>Guest code for the decoder; ends at the first byte that is not executable.</summary>
/// <param name="entering">Asked, before a page is read, for bits to set for what is read of it; takes an address in the page.</param>
sealed unsafe class CodeBytes(CodeBytes.Entering? entering = null) : CodeReader
{
    public delegate ulong* Entering(ulong address);

    ulong address, pageEnd;
    byte* host;
    ulong* read;

    public void MoveTo(ulong rip)
    {
        address = rip;
        pageEnd = rip;
    }

    public override int ReadByte()
    {
        if (address >= pageEnd)
        {
            read = entering == null ? null : entering(address);
            if (!GuestMemory.TryTranslate(address, 1, PageAccess.Execute, out host, out _)) return -1;
            pageEnd = (address | (GuestMemory.PageSize - 1)) + 1;
        }
        ulong offset = address++ & (GuestMemory.PageSize - 1);
        if (read != null) read[offset / 64] |= 1UL << (int)(offset % 64);
        return *host++;
    }
}
